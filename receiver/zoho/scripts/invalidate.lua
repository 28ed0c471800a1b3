-- (connection, generation, what refused it, for how long a fresh token clears itself) -> 1 where another try makes sense
local key, now = K.token(ARGV[1]), now_ms()
local generation = field(key, 'generation')
if generation ~= tonumber(ARGV[2]) then return 1 end
local cleared = redis.call('HGET', key, 'cleared:' .. ARGV[3])
if cleared then
  local which, at = string.match(cleared, '^(%d+):(%d+)$')
  if tonumber(which) == generation and now - tonumber(at) < tonumber(ARGV[4]) then return 0 end
end
redis.call('HSET', key, 'expires', 0)
return 1
