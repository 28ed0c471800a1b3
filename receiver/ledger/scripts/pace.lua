-- When a job may be tried again that is part of a replay: at its own time, but no faster than the replay's rate.
-- ARGV: job, wait (ms), the time that was named instead (ms, or '0'). Answers a time (ms), 0 where there is no rate to keep to, or
--   -1 where somebody cancelled the replay.

local replay = redis.call('HGET', K.job(ARGV[1]), 'replay')
if not replay then return 0 end
local found = redis.call('HMGET', K.replay(replay), 'state', 'rate', 'next')
local rate = tonumber(found[2] or 0)
if found[1] == 'cancelled' then return -1 end
if not found[1] or rate == 0 then return 0 end
local due = ARGV[3] ~= '0' and tonumber(ARGV[3]) or now + tonumber(ARGV[2])
local at = math.max(due, tonumber(found[3] or 0))
redis.call('HSET', K.replay(replay), 'next', int(at + 1000 / rate))
return at
