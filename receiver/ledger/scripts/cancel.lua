-- Cancel the event that waits under a key of the user's own. ARGV: key. Answers 1, or 0 where none waits.

local id = redis.call('GET', K.emitted(ARGV[1]))
if not id then return 0 end
redis.call('DEL', K.emitted(ARGV[1]))
if not waits_to_be_routed(id) then return 0 end
cancel_event(id, 'zohook')
count('cancelled')
return 1
