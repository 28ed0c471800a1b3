-- (place, call, credits left as Zoho says or '', milliseconds to block or 0, why, '1' where Zoho did not answer or '0', failures until a block,
--  day, connection:product, the call as JSON, '1' where it failed or '0', milliseconds that it took, credits that it cost)
-- A call is over. -> milliseconds that the place is blocked, nought where it is not
local place, call, now = ARGV[1], ARGV[2], now_ms()
redis.call('ZREM', K.calls_in_flight(place), call)
redis.call('ZREM', K.calls_heavy(place), call)
redis.call('ZADD', K.calls_lately(place), 'XX', now, call)
if ARGV[3] ~= '' then redis.call('HSET', K.calls_credits(place), 'left', ARGV[3], 'left_at', now) end
local block, why = tonumber(ARGV[4]), ARGV[5]
if ARGV[6] == '1' then
  local failed = redis.call('INCR', K.calls_failed(place))
  redis.call('EXPIRE', K.calls_failed(place), 600)
  local most = tonumber(ARGV[7])
  -- After the first block one failure is enough for the next, twice as long, up to five minutes: calls are the probe.
  if failed >= most and block == 0 then block = math.min(300000, 15000 * 2 ^ (failed - most)) end
elseif block == 0 then
  redis.call('DEL', K.calls_failed(place))
end
if block > 0 and redis.call('PTTL', K.calls_blocked(place)) < block then
  redis.call('SET', K.calls_blocked(place), why, 'PX', math.floor(block))
end
local sums, of = K.calls_of_day(ARGV[8]), ARGV[9]
redis.call('HINCRBY', sums, of .. ':n', 1)
if ARGV[11] == '1' then redis.call('HINCRBY', sums, of .. ':failed', 1) end
redis.call('HINCRBY', sums, of .. ':ms', ARGV[12])
if ARGV[13] ~= '0' then redis.call('HINCRBY', sums, of .. ':credits', ARGV[13]) end
redis.call('EXPIRE', sums, 60 * 86400)
redis.call('LPUSH', K.calls_log(), ARGV[10])
redis.call('LTRIM', K.calls_log(), 0, 4999)
return math.floor(block)
