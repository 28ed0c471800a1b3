-- Take one of our own writes for an event, once: as what it is an echo of, or as its cause, which the event then knows.
-- Asking again for the same event gives the same answer. ARGV: record, what is taken, event, cause or '', depth, seconds kept.
-- Answers 1 or 0.

local record, what, event, cause, depth, kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
redis.call('HSETNX', K.writes_taken(record), what, event)
redis.call('EXPIRE', K.writes_taken(record), kept)
if redis.call('HGET', K.writes_taken(record), what) ~= event then return 0 end
if cause ~= '' then redis.call('HSET', K.event(event), 'cause', cause, 'depth', depth) end
return 1
