-- Shared by every script: slips in RQ's own shape, and the room that they have. Of each source only so many wait in a queue; what
-- finds no room there waits in the ledger, and is given a slip as the others are taken.

-- How many slips of each source wait in a queue, as it was found, and what this script changes. That is written when it is over.
local found_slips, more_slips, more_waits = {}, {}, {}

local function add_slips(queue, source, by)
  local sources = more_slips[queue]
  if not sources then
    sources = {}
    more_slips[queue] = sources
  end
  sources[source] = (sources[source] or 0) + by
end

local function slips_of(queue, source)
  local sources = found_slips[queue]
  if not sources then
    sources = {}
    found_slips[queue] = sources
  end
  if not sources[source] then sources[source] = tonumber(redis.call('HGET', K.slips(queue), source) or 0) end
  return sources[source] + (more_slips[queue] and more_slips[queue][source] or 0)
end

local function write_slips()
  for queue, sources in pairs(more_slips) do
    for source, by in pairs(sources) do
      if by ~= 0 then redis.call('HINCRBY', K.slips(queue), source, by) end
    end
  end
  for place in pairs(more_waits) do redis.call('SADD', K.waits(), place) end
  found_slips, more_slips, more_waits = {}, {}, {}
end

-- A slip: an RQ job that carries ids to a worker. It may get lost without harm, so it expires after a day.
-- The time is part of its id: RQ must never see one id in two places.
local function write_slip(kind, id, run, queue, iso, source)
  local rq_id = string.sub(redis.sha1hex(kind .. ':' .. id .. ':' .. run .. ':' .. instant .. time[2]), 1, 20)
  local key = K.rq_job(rq_id)
  redis.call('HSET', key, 'data', '["receiver.routing.slips.work",null,["' .. kind .. '",' .. cjson.encode(id) .. ',' .. run .. '],{}]',
    'origin', queue, 'description', kind .. ' ' .. id .. ' run ' .. run, 'created_at', iso, 'enqueued_at', iso,
    'status', 'queued', 'timeout', '86400', 'result_ttl', '0', 'failure_ttl', '3600', 'given', instant, 'source', source)
  redis.call('EXPIRE', key, '86400')
  add_slips(queue, source, 1)
  return rq_id
end

local function known_queue(queue)
  redis.call('SADD', K.rq_queues(), K.rq_queue(queue))
  if string.find(queue, '/', 1, true) then redis.call('SADD', K.asides(), queue) end
end

-- Put slips into a queue, and wake as many workers.
local function push_slips(queue, slips)
  if #slips == 0 then return end
  known_queue(queue)
  for first = 1, #slips, 1000 do
    redis.call('RPUSH', K.rq_queue(queue), unpack(slips, first, math.min(first + 999, #slips)))
  end
  local calls = {}
  for _ = 1, math.min(#slips, 64 - redis.call('LLEN', K.wake())) do calls[#calls + 1] = '1' end
  if #calls > 0 then redis.call('RPUSH', K.wake(), unpack(calls)) end
end

-- The source of an event or a job; '' for one that was accepted before events knew theirs.
local function source_of(kind, id)
  return redis.call('HGET', K.event(kind == 'e' and id or string.match(id, '^[^:]+')), 'source') or ''
end

local function give(kind, id, run, queue, iso, source)
  local slip = write_slip(kind, id, run, queue, iso, source or source_of(kind, id))
  redis.call('HSET', key_of(kind, id), 'given', instant)
  push_slips(queue, { slip })
end

local function wait_for_room(kind, id, queue, source)
  index(K.waiting(queue, source), instant, member(kind, id))
  more_waits[source .. ' ' .. queue] = true
end

-- A slip where its source has room for one, else a place among those that wait. What is due is looked at again after a while (ms).
local function give_if_room(kind, id, run, queue, iso, source, most, again)
  if slips_of(queue, source) < most then
    give(kind, id, run, queue, iso, source)
    due_at(kind, id, now + again)
    return true
  end
  redis.call('HSET', key_of(kind, id), 'given', 0)
  not_due(kind, id)
  wait_for_room(kind, id, queue, source)
  return false
end

-- Give slips to those of a source that wait for room in a queue, oldest first, `page` at most. Answers how many were looked at.
local function refill(queue, source, most, page, again, iso)
  local room = math.min(page, most - slips_of(queue, source))
  if room <= 0 then return 0 end
  local popped, slips = redis.call('ZPOPMIN', K.waiting(queue, source), room), {}
  for at = 1, #popped, 2 do
    local kind, id = string.match(popped[at], '^(.):(.+)$')
    -- What was accepted and has waited since is due, and its first run comes next; who cancels it takes it from here.
    local found = kind == 'n' and { 'due', 0, now } or redis.call('HMGET', key_of(kind, id), 'state', 'run', 'due')
    if kind == 'n' then kind = 'e' end
    if found[1] == 'due' then
      local due = tonumber(found[3])
      if due <= now then
        due = now + again
        redis.call('HSET', key_of(kind, id), 'given', instant)
        slips[#slips + 1] = write_slip(kind, id, int(tonumber(found[2]) + 1), queue, iso, source)
      end
      due_at(kind, id, due)
    end
  end
  push_slips(queue, slips)
  if #popped < 2 * room then redis.call('SREM', K.waits(), source .. ' ' .. queue) end
  return #popped / 2
end
