-- Accept a batch of deliveries: marks, deliveries, events, indexes, due members and slips, all or nothing.
-- Idempotent by delivery and event id: the same batch again changes nothing and gives the same answers.
-- ARGV: iso, again (ms), queue, most slips of a source that may wait there, highest sequence that the caller's host was told, cap,
--   kept, number of deliveries, number of all events, then per delivery
--   id, source, verdict, the delivery as it is kept, its sealed secrets, received, forward ('1' to relay it), number
--   of events, then per event
--   id, type, mark, window (ms), the event as it is kept ('' where its delivery tells it), record, due (ms, 0 for now),
--   key that it waits under, replace ('1')
-- Answers per event: 'new', 'same' (this very event is there already) or the id of the event that it duplicates;
-- per delivery without events: 'kept', 'counted', or 'full' where nothing was written, for as many as may wait to be verified do.
-- Last comes the ledger's sequence.
-- A ledger that has forgotten what it said answers {'behind'} and writes nothing: that is counted first (witness.lua).

local at = 0
local function arg() at = at + 1; return ARGV[at] end
local iso, again, queue, most, told = arg(), tonumber(arg()), arg(), tonumber(arg()), tonumber(arg())
local cap, kept, deliveries, reserved = tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg())
local look = int(now + again)
local answers = {}
local before = tonumber(redis.call('GET', K.sequence()) or 0)
if before < told then return { 'behind' } end

-- The sequence is taken for all at once; what duplicates leave of it is given back.
local seq = reserved > 0 and redis.call('INCRBY', K.sequence(), reserved) - reserved or 0
local last = seq + reserved

-- What waits to be verified was answered 200: none of it is pushed out by what comes later.
local function no_room_for(verdict, was)
  return verdict == 'unverified' and was ~= verdict and redis.call('ZCARD', K.deliveries(verdict)) >= kept
end

local function keep(set, bound, id)
  redis.call('ZADD', set, instant, id)
  local over = redis.call('ZCARD', set) - bound
  if over > 0 then
    for _, old in ipairs(redis.call('ZRANGE', set, 0, over - 1)) do redis.call('DEL', K.delivery(old), K.verdict(old)) end
    redis.call('ZREMRANGEBYRANK', set, 0, over - 1)
  end
end

-- A key of the user's own: one event waits under it at a time. The one that stays, or nil.
local function waiting_under(key, replace)
  write_indexes() -- it may be one of this batch
  local known = redis.call('GET', K.emitted(key))
  if not known or not waits_to_be_routed(known) then return nil end
  if not replace then return known end
  cancel_event(known, queue)
  return nil
end

local types, slips, fresh = {}, {}, {}

local function accept_event(delivery, source, received)
  local id, type, mark, window, fact, record = arg(), arg(), arg(), arg(), arg(), arg()
  local due, under, replace = tonumber(arg()), arg(), arg() == '1'
  if fresh[id] then return 'same' end
  if redis.call('EXISTS', K.event(id)) == 1 and redis.call('ZSCORE', K.events(), id) then return 'same' end
  if mark ~= '' and not redis.call('SET', K.mark(mark), id, 'PX', window, 'NX') then
    local known = redis.call('GET', K.mark(mark))
    if known ~= id then
      count('duplicates')
      count('duplicates:' .. source)
      return known
    end
  end
  if under ~= '' then
    local stays = waiting_under(under, replace)
    if stays then return stays end
    redis.call('SET', K.emitted(under), id, 'PX', int(math.max(due - now, 0) + 31536000000))
  end
  seq, fresh[id] = seq + 1, true
  local number = int(seq)
  index(K.events(), received, id)
  index(K.events_of_type(type), received, id)
  index(K.events_of_source(source), received, id)
  if record ~= '' then redis.call('ZADD', K.events_of_record(record), number, id) end
  if not types[type] then
    types[type] = true
    redis.call('SADD', K.types(), type)
  end
  local fields = { 'seq', number, 'state', 'due', 'run', '0', 'source', source }
  if fact == '' then
    fields[9], fields[10] = 'delivery', delivery
  else
    redis.call('SET', K.fact(id), fact)
  end
  if due > now then
    redis.call('HSET', K.event(id), 'due', int(due), unpack(fields))
    index(K.due(), int(due), member('e', id))
  else
    local room = slips_of(queue, source) < most
    redis.call('HSET', K.event(id), 'due', instant, 'given', room and instant or '0', unpack(fields))
    index(K.unrouted(), number, id)
    index(K.unrouted_of(source), number, id)
    if room then
      index(K.due(), look, member('e', id))
      slips[#slips + 1] = write_slip('e', id, 1, queue, iso, source)
    else
      wait_for_room('n', id, queue, source)
    end
  end
  count('accepted')
  return 'new'
end

local function accept_delivery()
  local id, source, verdict, record, sealed, received = arg(), arg(), arg(), arg(), arg(), arg()
  local forward, events = arg() == '1', tonumber(arg())
  -- It may have been kept before, under a verdict that the events which are taken now put an end to.
  local was = redis.call('HGET', K.verdict(id), 'verdict')
  if no_room_for(verdict, was) then
    answers[#answers + 1] = 'full'
    return
  end
  if verdict ~= 'emitted' and not was then count('deliveries') end
  if verdict ~= 'accepted' then count(verdict); count(verdict .. ':' .. source) end
  local duplicates = {}
  for _ = 1, events do
    local answer = accept_event(id, source, received)
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
    redis.call('SET', K.delivery(id), record)
    if sealed ~= '' then
      redis.call('HSET', K.verdict(id), 'sealed', sealed)
    elseif was then
      redis.call('HDEL', K.verdict(id), 'sealed')
    end
    if was and was ~= verdict then
      redis.call('HDEL', K.verdict(id), 'verdict')
      redis.call('ZREM', K.deliveries(was), id)
    end
    if #duplicates > 0 then redis.call('HSET', K.verdict(id), 'same', table.concat(duplicates, ' ')) end
    if verdict ~= 'accepted' then
      redis.call('HSET', K.verdict(id), 'verdict', verdict)
      keep(K.deliveries(verdict), kept, id)
    end
    if forward then redis.call('ZADD', K.forwards(source), instant, id) end
  end
  if events == 0 then answers[#answers + 1] = keeping and 'kept' or 'counted' end
end

for _ = 1, deliveries do accept_delivery() end
push_slips(queue, slips)
if last > seq then redis.call('DECRBY', K.sequence(), int(last - seq)) end
answers[#answers + 1] = int(reserved > 0 and seq or before)
return answers
