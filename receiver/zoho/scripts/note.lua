-- What is kept of calls that are over. For each: place, call, day, connection:product, the call as JSON, '1' where it failed or '0',
--  milliseconds that it took, credits that it cost -> {}
local now = now_ms()
local hour = math.floor(now / 3600000)

-- What was counted as it was let in, and by leave.lua, is written down now.
local function settle(place, call)
  local lately, book = redis.call('ZSCORE', K.calls_lately(place), call), K.calls_credits(place)
  if lately then
    redis.call('ZADD', K.calls_lately(place), lately, call)
    redis.call('PEXPIRE', K.calls_lately(place), math.max(1, redis.call('PTTL', K.calls_lately(place))))
  end
  for _, each in ipairs({ hour - 1, hour, 'left', 'left_at' }) do
    local counted = redis.call('HGET', book, each)
    if counted then redis.call('HSET', book, each, counted) end
  end
  redis.call('PEXPIRE', book, 90000000)
  redis.call('ZADD', K.calls_places(), now, place)
end

local function note(place, call, day, of, line, failed, took, cost)
  settle(place, call)
  local sums = K.calls_of_day(day)
  redis.call('HINCRBY', sums, of .. ':n', 1)
  if failed == '1' then redis.call('HINCRBY', sums, of .. ':failed', 1) end
  redis.call('HINCRBY', sums, of .. ':ms', took)
  if cost ~= '0' then redis.call('HINCRBY', sums, of .. ':credits', cost) end
  redis.call('EXPIRE', sums, 60 * 86400)
  redis.call('LPUSH', K.calls_log(), line)
end

for at = 1, #ARGV, 8 do note(unpack(ARGV, at, at + 7)) end
redis.call('LTRIM', K.calls_log(), 0, 4999)
return {}
