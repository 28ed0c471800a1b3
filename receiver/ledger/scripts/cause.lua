-- Take one of our own writes for an event, once: as what it is an echo of, or with `meta` as its cause, which the event then knows.
-- Asking again for the same event gives the same answer. ARGV: record, what is taken, event, meta or '', seconds kept. Answers 1 or 0.

local record, what, event, meta, kept = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
redis.call('HSETNX', K.writes_taken(record), what, event)
redis.call('EXPIRE', K.writes_taken(record), kept)
if redis.call('HGET', K.writes_taken(record), what) ~= event then return 0 end
if meta ~= '' then redis.call('HSET', K.event(event), 'meta', meta) end
return 1
