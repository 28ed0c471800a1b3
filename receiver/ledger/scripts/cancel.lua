-- Cancel the event that waits under a key of the user's own. ARGV: key. Answers 1, or 0 where none waits.

local id = redis.call('GET', K.emitted(ARGV[1]))
if not id then return 0 end
local found = redis.call('HMGET', K.event(id), 'state', 'run', 'source')
redis.call('DEL', K.emitted(ARGV[1]))
if found[1] ~= 'due' or found[2] ~= '0' then return 0 end
redis.call('HSET', K.event(id), 'state', 'cancelled')
not_due('e', id)
redis.call('ZREM', K.waiting('zohook', found[3] or ''), member('n', id))
redis.call('ZREM', K.unrouted(), id)
count('cancelled')
return 1
