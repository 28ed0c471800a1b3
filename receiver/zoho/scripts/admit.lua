-- (place, call, lease, in flight, heavy in flight or 0, a minute, credits a day, cost, '1' for work that live events go before,
--  milliseconds that the minute has, and each call of this process that is over meanwhile, as left.lua takes it)
-- -> {0} where the call may be made; else {milliseconds until it may be asked again, why, '1' where it is a block and not a queue,
--  '#behind' where live events are not held by it}
-- Nothing of it goes to the append-only file or to replicas, so no call waits for a disk: what must outlast this Redis, the minute's calls
-- and the credits, is written again when the call is over (note.lua). A lease need not.
-- Uses left.lua
local place, call, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local most, most_heavy, minute, credits, cost = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local behind, window = ARGV[9] == '1', tonumber(ARGV[10])
for at = 11, #ARGV, 7 do leave(unpack(ARGV, at, at + 6)) end

for _, of in ipairs(behind and { '', '#behind' } or { '' }) do
  local why = redis.call('GET', K.calls_blocked(place .. of))
  if why then return { math.max(1, redis.call('PTTL', K.calls_blocked(place .. of))), why, '1', of } end
end

-- Work that may wait has the places that live events leave: half of them, and four fifths of the day.
local function share(limit) return behind and math.max(1, math.floor(limit / 2)) or limit end

local function places(key, limit, name)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  if redis.call('ZCARD', key) < share(limit) then return nil end
  return { 50, name }
end

local spent, book = 0, K.calls_credits(place)
if credits > 0 and cost > 0 then
  local hour = math.floor(now / 3600000)
  local found = redis.call('HGETALL', book)
  local left, left_at = nil, 0
  for i = 1, #found, 2 do
    local of = tonumber(found[i])
    if of and of <= hour - 24 then redis.call('HDEL', book, found[i]) end
    if of and of > hour - 24 then spent = spent + tonumber(found[i + 1]) end
    if found[i] == 'left' then left = tonumber(found[i + 1]) end
    if found[i] == 'left_at' then left_at = tonumber(found[i + 1]) end
  end
  local free = credits - spent
  if left and now - left_at < 3600000 then free = math.min(left, math.max(free, left)) end
  local kept = behind and credits / 5 or 0
  if free - cost < kept then
    -- The day is the last 24 hours, so some come back with each hour: ten minutes from now one of those who wait asks again.
    local of, why = '', 'the day\'s credits are spent'
    if behind and free >= cost then of, why = '#behind', 'the rest of the day\'s credits is kept for live events' end
    redis.call('SET', K.calls_blocked(place .. of), why, 'PX', 600000)
    return { 600000, why, '1', of }
  end
end
local full = most > 0 and places(K.calls_in_flight(place), most, 'all places are taken')
if full then return full end
full = most_heavy > 0 and places(K.calls_heavy(place), most_heavy, 'all places for heavy calls are taken')
if full then return full end
-- Zoho counts a call at some moment between now and its answer: until then it stands in the time to come, then it is of the moment of
-- its answer (leave.lua). So however late a call arrives, no window of Zoho's has more of them than ours.
if minute > 0 then
  local key = K.calls_lately(place)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  local limit = share(minute)
  if redis.call('ZCARD', key) >= limit then
    local oldest = redis.call('ZRANGE', key, -limit, -limit, 'WITHSCORES')
    return { math.max(1, math.min(window, tonumber(oldest[2]) + window - now)), limit .. ' calls a minute are made already' }
  end
  redis.call('ZADD', key, now + lease, call)
  redis.call('PEXPIRE', key, window + lease)
end
redis.call('ZADD', K.calls_in_flight(place), now + lease, call)
redis.call('PEXPIRE', K.calls_in_flight(place), lease)
if most_heavy > 0 then
  redis.call('ZADD', K.calls_heavy(place), now + lease, call)
  redis.call('PEXPIRE', K.calls_heavy(place), lease)
end
if cost > 0 then
  redis.call('HINCRBY', book, math.floor(now / 3600000), cost)
  if redis.call('HEXISTS', book, 'left') == 1 then redis.call('HINCRBY', book, 'left', -cost) end
  redis.call('PEXPIRE', book, 90000000)
end
redis.call('ZADD', K.calls_places(), now, place)
return { 0 }
