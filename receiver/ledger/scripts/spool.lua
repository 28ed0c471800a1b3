-- What waits on the disk of one host, as it tells. Where nothing waits that is told for a while and then forgotten; where something
-- does, it stays known until the host says otherwise or a person gives it up: there may be nobody left to say it.
-- ARGV: host, the name under which it told of the same file before, how long an empty one is told of (ms), depth, bytes, when the
--   oldest was received (ms), quarantined
-- Answers how much it had told of before.

local host, former, life = ARGV[1], ARGV[2], tonumber(ARGV[3])
local row = K.spool(host)
redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua

-- A container that is made anew has another name and the same volume.
if former ~= '' and former ~= host then
  redis.call('DEL', K.spool(former))
  redis.call('ZREM', K.spools(), former)
end

local found = redis.call('HMGET', row, 'depth', 'quarantined')
local before = tonumber(found[1] or 0) + tonumber(found[2] or 0)
local waits = tonumber(ARGV[4]) + tonumber(ARGV[7]) > 0
if waits or before > 0 then
  redis.call('HSET', row, 'depth', ARGV[4], 'bytes', ARGV[5], 'oldest', ARGV[6], 'quarantined', ARGV[7], 'seen', instant)
  redis.call('ZADD', K.spools(), instant, host)
  if waits then redis.call('PERSIST', row) else redis.call('PEXPIRE', row, life) end
end
for _, each in ipairs(redis.call('ZRANGEBYSCORE', K.spools(), '-inf', int(now - life))) do
  if redis.call('EXISTS', K.spool(each)) == 0 then redis.call('ZREM', K.spools(), each) end
end
return before
