-- End at once the lease of a run whose process is known to be dead. ARGV: kind, id, run, name of the process, how it died,
-- whether that counts against what it ran ('1').

local found = redis.call('HMGET', key_of(ARGV[1], ARGV[2]), 'state', 'run', 'worker')
redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua
if found[1] ~= 'running' or found[2] ~= ARGV[3] then return 0 end
if string.sub(found[3], 1, #ARGV[4] + 1) ~= ARGV[4] .. '#' then return 0 end
redis.call('HSET', key_of(ARGV[1], ARGV[2]), 'how', ARGV[5], 'blamed', ARGV[6])
due_at(ARGV[1], ARGV[2], now)
return 1
