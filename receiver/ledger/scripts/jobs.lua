-- Shared by every script: jobs, their states and indexes, and what their policies let begin.

-- Every state but done has an index, over all and by handler.
local handlers = {}
local function handler_of(job)
  local handler = handlers[job]
  if not handler then
    handler = string.match(job, '^[^:]+:(.+)$')
    handlers[job] = handler
  end
  return handler
end

local function shift(job, from, to)
  local handler = handler_of(job)
  if from and from ~= '' and from ~= 'done' then
    unindex(K.jobs_in_state(from), job)
    unindex(K.jobs_of_handler(handler, from), job)
  end
  if to ~= 'done' then
    index(K.jobs_in_state(to), instant, job)
    index(K.jobs_of_handler(handler, to), instant, job)
  end
end

-- The handlers that have a job of an event.
local function handlers_of(event)
  local found = {}
  for _, field in ipairs(redis.call('HKEYS', K.event(event))) do
    if string.sub(field, 1, 1) == '@' then found[#found + 1] = string.sub(field, 2) end
  end
  return found
end

local function note_attempt(job, attempt)
  redis.call('RPUSH', K.attempts(job), attempt)
  redis.call('LTRIM', K.attempts(job), -100, -1)
end

local OPEN = { due = true, running = true, held = true }

local function park(kind, id, reason)
  not_due(kind, id)
  redis.call('SADD', K.parked(reason), member(kind, id))
  redis.call('SADD', K.parked_reasons(), reason)
end

-- A job that waits may be taken along by a batch from then on. It is due all the same: losing this costs it company only.
local function offer(job, policy, from)
  local place = K.batch(policy.batch, redis.call('HGET', K.job(job), 'lane') or '')
  redis.call('ZADD', place, int(from), job)
  redis.call('EXPIRE', place, 172800)
  return place
end

-- Make a waiting job runnable now, or at its due time where that is later. False where it does not wait any more.
local function wake_job(job, iso)
  local found = redis.call('HMGET', K.job(job), 'state', 'due', 'run', 'lane', 'queue')
  if found[1] ~= 'due' then return false end
  local due = tonumber(found[2])
  if due > now then
    due_at('j', job, due)
    return true
  end
  local queue = (found[4] and found[4] ~= '') and found[4] or found[5] or 'zohook'
  give('j', job, int(tonumber(found[3]) + 1), queue, iso)
  due_at('j', job, now + 30000)
  return true
end

-- The next that waits for a place under a limit gets its slip.
local function wake_under(limit, iso)
  repeat
    local head = redis.call('ZPOPMIN', K.limit_queue(limit))[1]
    if not head then redis.call('SREM', K.limits(), limit) end
  until not head or wake_job(head, iso)
end

-- A run has ended or will wait: let go of its place in an order, under a limit and among the latest; the next one's turn has come.
local function settle(job, state, policy, iso)
  if not policy then return end
  policy = cjson.decode(policy)
  local finished = state == 'done' or state == 'skipped' or (state == 'dead' and policy.on_dead ~= 'hold')
  if policy.order and (finished or (policy.yields and state == 'due')) then
    redis.call('ZREM', K.order(policy.order), job)
    local head = redis.call('ZRANGE', K.order(policy.order), 0, 0)[1]
    if head then wake_job(head, iso) else redis.call('SREM', K.orders(), policy.order) end
  end
  if policy.latest and (finished or state == 'dead') then redis.call('ZREM', K.latest(policy.latest), job) end
  if policy.batch and state == 'due' then offer(job, policy, redis.call('HGET', K.job(job), 'due')) end
  -- A batch has one place, which its lead holds: who was taken along has none to give back.
  if policy.limit and redis.call('ZREM', K.limit(policy.limit), job) == 1 then wake_under(policy.limit, iso) end
end

-- Whether an earlier event may still open a job of the same order. Of a record that is known; of a key of the user's own it may be any.
local function may_be_overtaken(policy, seq)
  local before = '(' .. seq
  if not redis.call('ZRANGEBYSCORE', K.unrouted(), '-inf', before, 'LIMIT', 0, 1)[1] then return false end
  if not policy.record then return true end
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', K.events_of_record(policy.record), before, '-inf', 'LIMIT', 0, 500)) do
    if redis.call('ZSCORE', K.unrouted(), id) then return true end
  end
  return false
end

-- Whether a job may start now; else why not, with the job put where what it waits for will find it.
local function may_start(job, policy, seq, slot, lease)
  if not policy then return nil end
  policy = cjson.decode(policy)
  local key = K.job(job)
  if policy.order and redis.call('ZSCORE', K.order(policy.order), job) then
    if redis.call('ZRANGE', K.order(policy.order), 0, 0)[1] ~= job then
      not_due('j', job)
      return 'turn'
    end
    if may_be_overtaken(policy, seq) then
      redis.call('HSET', key, 'due', int(now + 20), 'given', 0)
      due_at('j', job, now + 20)
      return 'turn'
    end
  end
  if policy.rate and not (slot and tonumber(slot) <= now) then
    local free = tonumber(redis.call('GET', K.rate(policy.rate)) or 0)
    local at = free - policy.every * (policy.burst - 1)
    local taken = math.max(free, now) + policy.every
    redis.call('SET', K.rate(policy.rate), int(taken), 'PX', int(taken - now + 1000))
    if at > now then
      redis.call('HSET', key, 'slot', int(at), 'due', int(at), 'given', 0)
      due_at('j', job, at)
      return 'rate'
    end
  end
  if policy.limit then
    redis.call('ZREMRANGEBYSCORE', K.limit(policy.limit), '-inf', int(now))
    if redis.call('ZCARD', K.limit(policy.limit)) >= policy.most then
      redis.call('ZADD', K.limit_queue(policy.limit), 'NX', int(now), job)
      redis.call('SADD', K.limits(), policy.limit)
      not_due('j', job)
      if policy.rate then redis.call('HSET', key, 'slot', int(now)) end
      return 'limit'
    end
    redis.call('ZADD', K.limit(policy.limit), int(now + lease), job)
  end
  if policy.rate then redis.call('HDEL', key, 'slot') end
  if policy.latest then redis.call('DEL', K.latest_since(policy.latest)) end
  return nil
end
