-- Shared by every script: the clock, the counters, and the slip in RQ's own shape.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Lua prints large numbers as 1.7e+12, which is no integer to anybody else.
local function int(number) return string.format('%.0f', number) end

local counted = {}
local function count(field, by) counted[field] = (counted[field] or 0) + (by or 1) end

local function flush_counts()
  local minute = K.counts_in(int(math.floor(now / 60000)))
  for field, by in pairs(counted) do
    redis.call('HINCRBY', K.counts(), field, by)
    redis.call('HINCRBY', minute, field, by)
  end
  if next(counted) then redis.call('EXPIRE', minute, 172800) end
end

local function member(kind, id) return kind .. ':' .. id end
local function key_of(kind, id) if kind == 'e' then return K.event(id) end return K.job(id) end

-- A slip: an RQ job that carries ids to a worker. It may get lost without harm, so it expires after a day.
-- The time is part of its id: RQ must never see one id in two places.
local function give(kind, id, run, queue, iso)
  local rq_id = redis.sha1hex(kind .. ':' .. id .. ':' .. run .. ':' .. int(now) .. time[2])
  local key = K.rq_job(rq_id)
  redis.call('HSET', key, 'data', cjson.encode({ 'receiver.routing.slips.work', cjson.null, { kind, id, tonumber(run) }, {} }),
    'origin', queue, 'description', kind .. ' ' .. id .. ' run ' .. run, 'created_at', iso, 'enqueued_at', iso,
    'status', 'queued', 'timeout', '86400', 'result_ttl', '0', 'failure_ttl', '3600', 'given', int(now))
  redis.call('EXPIRE', key, 86400)
  redis.call('SADD', K.rq_queues(), K.rq_queue(queue))
  redis.call('RPUSH', K.rq_queue(queue), rq_id)
  redis.call('HSET', key_of(kind, id), 'given', int(now))
  if redis.call('LLEN', K.wake()) < 64 then redis.call('RPUSH', K.wake(), '1') end
end

-- Every state but done has an index, over all and by handler.
local function handler_of(job) return string.match(job, '^[^:]+:(.+)$') end

local function shift(job, from, to)
  local handler = handler_of(job)
  if from and from ~= '' and from ~= 'done' then
    redis.call('ZREM', K.jobs_in_state(from), job)
    redis.call('ZREM', K.jobs_of_handler(handler, from), job)
  end
  if to ~= 'done' then
    redis.call('ZADD', K.jobs_in_state(to), int(now), job)
    redis.call('ZADD', K.jobs_of_handler(handler, to), int(now), job)
  end
end

local function note_attempt(job, attempt)
  redis.call('RPUSH', K.attempts(job), attempt)
  redis.call('LTRIM', K.attempts(job), -100, -1)
end

local OPEN = { due = true, running = true, held = true }

-- An event knows how many of its jobs are open: retention and "all handled" ask for it.
local function open_jobs(job, from, to)
  local event = K.event(string.match(job, '^([^:]+):'))
  if OPEN[to] and not OPEN[from] then redis.call('HINCRBY', event, 'open', 1) end
  if OPEN[from] and not OPEN[to] then redis.call('HINCRBY', event, 'open', -1) end
end

local function park(kind, id, reason)
  redis.call('ZREM', K.due(), member(kind, id))
  redis.call('SADD', K.parked(reason), member(kind, id))
  redis.call('SADD', K.parked_reasons(), reason)
end
