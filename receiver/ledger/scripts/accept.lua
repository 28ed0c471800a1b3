-- Accept a batch of deliveries: marks, deliveries, events, indexes, due members and slips, all or nothing.
-- Idempotent by delivery and event id: the same batch again changes nothing and gives the same answers.
-- ARGV: iso, again (ms), queue, number of deliveries, then per delivery
--   id, source, verdict, meta, body, received, cap, kept, number of events, then per event
--   id, type, mark, window (ms), meta, data, record, state ('' to route)
-- Answers per event: 'new', 'same' (this very event is there already) or the id of the event that it duplicates;
-- per delivery without events: 'kept' or 'counted'.

local at = 0
local function arg() at = at + 1; return ARGV[at] end
local iso, again, queue, deliveries = arg(), tonumber(arg()), arg(), tonumber(arg())
local answers = {}

local function keep(index, bound, id)
  redis.call('ZADD', index, int(now), id)
  local over = redis.call('ZCARD', index) - bound
  if over > 0 then
    for _, old in ipairs(redis.call('ZRANGE', index, 0, over - 1)) do redis.call('DEL', K.delivery(old)) end
    redis.call('ZREMRANGEBYRANK', index, 0, over - 1)
  end
end

local function accept_event(source, delivery, received)
  local id, type, mark, window, meta, data, record = arg(), arg(), arg(), tonumber(arg()), arg(), arg(), arg()
  local known = mark ~= '' and redis.call('GET', K.mark(mark))
  if known and known ~= id then
    count('duplicates')
    return known
  end
  if redis.call('EXISTS', K.event(id)) == 1 then return 'same' end
  if mark ~= '' then redis.call('SET', K.mark(mark), id, 'PX', int(window)) end
  local seq = redis.call('INCR', K.sequence())
  redis.call('HSET', K.event(id), 'meta', meta, 'data', data, 'seq', seq, 'state', 'due', 'run', 0, 'due', int(now))
  redis.call('ZADD', K.events(), received, id)
  redis.call('ZADD', K.events_of_type(type), received, id)
  redis.call('ZADD', K.events_of_source(source), received, id)
  if record ~= '' then redis.call('ZADD', K.events_of_record(record), seq, id) end
  redis.call('SADD', K.types(), type)
  redis.call('ZADD', K.unrouted(), seq, id)
  redis.call('ZADD', K.due(), int(now + again), member('e', id))
  give('e', id, 1, queue, iso)
  count('accepted')
  return 'new'
end

for _ = 1, deliveries do
  local id, source, verdict, meta, body = arg(), arg(), arg(), arg(), arg()
  local received, cap, kept, events = arg(), tonumber(arg()), tonumber(arg()), tonumber(arg())
  count('deliveries')
  if verdict ~= 'accepted' then count(verdict); count(verdict .. ':' .. source) end
  local duplicates = {}
  for _ = 1, events do
    local answer = accept_event(source, id, received)
    answers[#answers + 1] = answer
    if answer ~= 'new' and answer ~= 'same' then duplicates[#duplicates + 1] = answer end
  end
  if events > 0 and #duplicates == events and verdict == 'accepted' then verdict = 'duplicate' end
  local keeping = true
  if verdict == 'rejected' then
    local minute = K.rejects(source, int(math.floor(now / 60000)))
    keeping = redis.call('INCR', minute) <= cap
    redis.call('EXPIRE', minute, 120)
  end
  if keeping then
    redis.call('HSET', K.delivery(id), 'meta', meta, 'body', body)
    if verdict ~= 'accepted' then
      redis.call('HSET', K.delivery(id), 'verdict', verdict)
      if #duplicates > 0 then redis.call('HSET', K.delivery(id), 'same', table.concat(duplicates, ' ')) end
      keep(K.deliveries(verdict), kept, id)
    end
  end
  if events == 0 then answers[#answers + 1] = keeping and 'kept' or 'counted' end
end
flush_counts()
return answers
