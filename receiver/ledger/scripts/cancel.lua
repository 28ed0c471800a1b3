-- Cancel the event that waits under a key of the user's own. ARGV: key. Answers 1, or 0 where none waits.

local id = redis.call('GET', K.emitted(ARGV[1]))
if not id then return 0 end
if waits_to_be_routed(id) then
  redis.call('DEL', K.emitted(ARGV[1]))
  cancel_event(id, 'zohook')
  count('cancelled')
  return 1
end
-- What a worker looks at just now may be put off again, and cancelled then.
if redis.call('HGET', K.event(id), 'state') ~= 'running' then redis.call('DEL', K.emitted(ARGV[1])) end
return 0
