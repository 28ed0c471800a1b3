-- Forget old events that are finished, a page at a time: their deliveries, jobs, attempts and indexes with them.
-- What is open or dead stays however old it is. ARGV: cutoff (ms), first rank, page
-- Answers {looked at, forgotten}.

local cutoff, first, page = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local forgotten = 0
local old = redis.call('ZRANGEBYSCORE', K.events(), '-inf', cutoff, 'LIMIT', first, page)

local function record_key(meta)
  if not meta.record_id then return nil end
  local stem = string.match(meta.type, '^(.+%..+)%.[^.]+$') or meta.type
  return K.events_of_record(stem .. ':' .. meta.record_id)
end

local function finished(id, state, handlers)
  if state ~= 'routed' and state ~= 'unmatched' and state ~= 'cancelled' then return false end
  for _, handler in ipairs(handlers) do
    local job = redis.call('HGET', K.job(id .. ':' .. handler), 'state')
    if OPEN[job] or job == 'dead' then return false end
  end
  return true
end

-- What an event is, and the delivery that goes with it.
local function meta_of(id, delivery)
  local kept = redis.call('GET', delivery and K.delivery(delivery) or K.fact(id))
  local line = kept and cjson.decode(string.match(kept, '^[^\n]*'))
  if line and delivery then
    line.event.source = line.source
    return line.event, delivery
  end
  return line or {}, line and line.delivery
end

for _, id in ipairs(old) do
  local found = redis.call('HMGET', K.event(id), 'state', 'delivery')
  local handlers = found[1] and handlers_of(id)
  if not found[1] then
    unindex(K.events(), id)
    forgotten = forgotten + 1
  elseif finished(id, found[1], handlers) then
    local meta, delivery = meta_of(id, found[2])
    for _, handler in ipairs(handlers) do
      local job = id .. ':' .. handler
      shift(job, redis.call('HGET', K.job(job), 'state'), 'done')
      redis.call('DEL', K.job(job), K.attempts(job), K.steps(job))
    end
    redis.call('DEL', K.event(id), K.fact(id))
    if delivery then redis.call('DEL', K.delivery(delivery), K.verdict(delivery)) end
    unindex(K.events(), id)
    unindex(K.events_in_state('unmatched'), id)
    if meta.type then
      unindex(K.events_of_type(meta.type), id)
      unindex(K.events_of_source(meta.source), id)
      local record = record_key(meta)
      if record then redis.call('ZREM', record, id) end
    end
    forgotten = forgotten + 1
  end
end

if first == 0 then
  for _, verdict in ipairs({ 'rejected', 'quarantined', 'duplicate', 'unverified' }) do
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.deliveries(verdict), '-inf', cutoff, 'LIMIT', 0, page)) do
      redis.call('DEL', K.delivery(id), K.verdict(id))
      redis.call('ZREM', K.deliveries(verdict), id)
    end
  end
end
return { #old, forgotten }
