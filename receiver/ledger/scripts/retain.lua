-- Forget old events that are finished, a page at a time: their jobs, attempts and indexes with them, and a delivery with the last of
-- its events. What is open or dead stays however old it is.
-- ARGV: cutoff (ms), page, and the event that a page before this one kept last with its time ('' and 0 at the beginning)
-- Answers {looked at, forgotten, the event that was kept last, its time}.

local cutoff, page, kept, kept_at = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local seen, forgotten = 0, 0

-- Where the page begins: ranks shift with all that is forgotten and comes late, so the event that was kept last tells it. Where that
-- one is gone meanwhile, those of its time are looked at again.
local function first()
  if kept == '' then return 0 end
  local rank = redis.call('ZRANK', K.events(), kept)
  return rank and rank + 1 or redis.call('ZCOUNT', K.events(), '-inf', '(' .. kept_at)
end

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

-- The line that says what is kept there, without the bytes after it: they may be a megabyte. Nil where nothing is kept, or nothing that
-- can be read: one damaged event must not keep all behind it.
local function line_of(place)
  local beginning = redis.call('GETRANGE', place, 0, 4095)
  if #beginning == 4096 and not string.find(beginning, '\n', 1, true) then beginning = redis.call('GET', place) end
  local readable, line = pcall(cjson.decode, string.match(beginning, '^[^\n]*'))
  return readable and type(line) == 'table' and line or nil
end

-- What an event is, and the delivery that it came with.
local function meta_of(id, delivery)
  local line = line_of(delivery and K.delivery(delivery) or K.fact(id))
  if delivery then
    local meta = line and line.event or {}
    meta.source = line and line.source
    return meta, delivery
  end
  return line or {}, line and line.delivery
end

-- A delivery goes with the last of its events. Until then it says which are forgotten: they were no duplicates, which may run anyway.
local left = {}
local function leave(delivery, gone)
  local line = line_of(K.delivery(delivery))
  local told = line and type(line.events) == 'table' and line.events or {}
  for at = #told, 1, -1 do
    if redis.call('EXISTS', K.event(told[at])) == 1 then
      gone[#gone + 1] = redis.call('HGET', K.verdict(delivery), 'forgotten') or nil
      redis.call('HSET', K.verdict(delivery), 'forgotten', table.concat(gone, ' '))
      return
    end
  end
  redis.call('DEL', K.delivery(delivery), K.verdict(delivery))
end

local function look_at(id, received)
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
    if delivery then
      left[delivery] = left[delivery] or {}
      table.insert(left[delivery], id)
    end
    unindex(K.events(), id)
    unindex(K.events_in_state('unmatched'), id)
    if meta.type and meta.source then
      unindex(K.events_of_type(meta.type), id)
      unindex(K.events_of_source(meta.source), id)
      local record = record_key(meta)
      if record then redis.call('ZREM', record, id) end
    end
    forgotten = forgotten + 1
  else
    kept, kept_at = id, received
  end
end

local from = first()
local old = redis.call('ZRANGE', K.events(), from, from + page - 1, 'WITHSCORES')
for at = 1, #old, 2 do
  if tonumber(old[at + 1]) > tonumber(cutoff) then break end
  seen = seen + 1
  look_at(old[at], old[at + 1])
end
for delivery, gone in pairs(left) do leave(delivery, gone) end
return { seen, forgotten, kept, kept_at }
