-- Accept a batch of deliveries: marks, deliveries, events, indexes, due members and slips, all or nothing.
-- Idempotent by delivery and event id: the same batch again changes nothing and gives the same answers.
-- ARGV: iso, again (ms), queue, number of deliveries, then per delivery
--   id, source, verdict, meta, body, received, cap, kept, number of events, then per event
--   id, type, mark, window (ms), meta, data, record, due (ms, 0 for now), key that it waits under, replace ('1')
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

-- A key of the user's own: one event waits under it at a time. The one that stays, or nil.
local function waiting_under(key, replace)
  local known = redis.call('GET', K.emitted(key))
  if not known then return nil end
  local found = redis.call('HMGET', K.event(known), 'state', 'run')
  if found[1] ~= 'due' or found[2] ~= '0' then return nil end
  if not replace then return known end
  redis.call('HSET', K.event(known), 'state', 'cancelled')
  redis.call('ZREM', K.due(), member('e', known))
  redis.call('ZREM', K.unrouted(), known)
  return nil
end

local function accept_event(source, delivery, received)
  local id, type, mark, window, meta, data, record = arg(), arg(), arg(), tonumber(arg()), arg(), arg(), arg()
  local due, under, replace = tonumber(arg()), arg(), arg() == '1'
  local known = mark ~= '' and redis.call('GET', K.mark(mark))
  if known and known ~= id then
    count('duplicates')
    return known
  end
  if redis.call('EXISTS', K.event(id)) == 1 then return 'same' end
  if under ~= '' then
    local stays = waiting_under(under, replace)
    if stays then return stays end
    redis.call('SET', K.emitted(under), id, 'PX', int(math.max(due - now, 0) + 31536000000))
  end
  if mark ~= '' then redis.call('SET', K.mark(mark), id, 'PX', int(window)) end
  local seq = redis.call('INCR', K.sequence())
  redis.call('HSET', K.event(id), 'meta', meta, 'data', data, 'seq', seq, 'state', 'due', 'run', 0, 'due', int(math.max(now, due)))
  redis.call('ZADD', K.events(), received, id)
  redis.call('ZADD', K.events_of_type(type), received, id)
  redis.call('ZADD', K.events_of_source(source), received, id)
  if record ~= '' then redis.call('ZADD', K.events_of_record(record), seq, id) end
  redis.call('SADD', K.types(), type)
  if due > now then
    redis.call('ZADD', K.due(), int(due), member('e', id))
  else
    redis.call('ZADD', K.unrouted(), seq, id)
    redis.call('ZADD', K.due(), int(now + again), member('e', id))
    give('e', id, 1, queue, iso)
  end
  count('accepted')
  return 'new'
end

for _ = 1, deliveries do
  local id, source, verdict, meta, body = arg(), arg(), arg(), arg(), arg()
  local received, cap, kept, events = arg(), tonumber(arg()), tonumber(arg()), tonumber(arg())
  if verdict ~= 'emitted' then count('deliveries') end
  if verdict ~= 'accepted' then count(verdict); count(verdict .. ':' .. source) end
  local duplicates = {}
  for _ = 1, events do
    local answer = accept_event(source, id, received)
    answers[#answers + 1] = answer
    if answer ~= 'new' and answer ~= 'same' then duplicates[#duplicates + 1] = answer end
  end
  if events > 0 and #duplicates == events and verdict == 'accepted' then verdict = 'duplicate' end
  local keeping = verdict ~= 'emitted'
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
