-- What every script of the token rows begins with. Times are Redis's own, in milliseconds.
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
-- A number of the row; what is damaged counts as nought, here as in Python.
local function field(key, name)
  local value = tonumber(redis.call('HGET', key, name) or '0') or 0
  if value >= 0 and value <= 2 ^ 53 then return value end
  return 0
end

-- One token call out of the budget: nought where there was room, else the milliseconds until there is.
local function spend(connection, now, fence, budget, window)
  local calls = K.token_refreshes(connection)
  redis.call('ZREMRANGEBYSCORE', calls, '-inf', now - window)
  if redis.call('ZCARD', calls) >= budget then
    local oldest = redis.call('ZRANGE', calls, 0, 0, 'WITHSCORES')
    return math.max(1, tonumber(oldest[2]) + window - now)
  end
  redis.call('ZADD', calls, now, now .. ':' .. fence .. ':' .. redis.call('ZCARD', calls))
  redis.call('PEXPIRE', calls, window)
  redis.call('HINCRBY', K.counts(), 'token_calls', 1)
  return 0
end
