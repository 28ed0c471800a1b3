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

-- The place of a job's event among all.
local function seq_of(job) return redis.call('HGET', K.event(string.match(job, '^[^:]+')), 'seq') or '0' end

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

local function unpark(kind, id)
  for _, reason in ipairs(redis.call('SMEMBERS', K.parked_reasons())) do
    redis.call('SREM', K.parked(reason), member(kind, id))
    if redis.call('EXISTS', K.parked(reason)) == 0 then redis.call('SREM', K.parked_reasons(), reason) end
  end
end

-- Whether an event waits to be routed, be it on hold: a worker may have looked at it, and put it off.
local function waits_to_be_routed(event)
  local state = redis.call('HGET', K.event(event), 'state')
  return (state == 'due' or state == 'held') and #handlers_of(event) == 0
end

-- Events that are to be routed, by sequence: of all sources and of each.
local function to_be_routed(event, seq, source)
  redis.call('ZADD', K.unrouted(), seq, event)
  redis.call('ZADD', K.unrouted_of(source), seq, event)
end

local function not_to_be_routed(event, source)
  redis.call('ZREM', K.unrouted(), event)
  redis.call('ZREM', K.unrouted_of(source), event)
end

local function cancel_event(event, queue)
  local found = redis.call('HMGET', K.event(event), 'state', 'source')
  if found[1] == 'held' then unpark('e', event) end
  redis.call('HSET', K.event(event), 'state', 'cancelled')
  not_due('e', event)
  redis.call('ZREM', K.waiting(queue, found[2] or ''), member('n', event))
  not_to_be_routed(event, found[2] or '')
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

-- A place that was meant for one who cannot take it, or takes it no more, is for the next.
local function pass_on(policy, iso)
  if redis.call('ZCARD', K.limit(policy.limit)) < policy.most then wake_under(policy.limit, iso) end
end

-- A run that never began has used none of its rate, and keeps its place there.
local function give_start_back(job, policy, state)
  local since = redis.call('HGET', K.job(job), 'since')
  if since and redis.call('LREM', K.rate(policy.rate), 1, since) == 1 and state == 'due' then
    redis.call('HSET', K.job(job), 'slot', since)
  end
end

-- Replays wait behind whatever is live, however long that has waited: this is added to the time by which they are queued.
local BEHIND = 1e13

-- Nobody runs under a key of an order: the next may. Of those that are not in the order any more (a yielding one that comes back, a
-- replay) live ones go first, then the order, then replays.
local function wake_in_order(order, job, iso)
  local key, waiting = K.order_queue(order), nil
  repeat
    waiting = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    local head = redis.call('ZRANGE', K.order(order), 0, 0)[1]
    if head and head ~= job and (not waiting[1] or tonumber(waiting[2]) >= BEHIND) then return wake_job(head, iso) end
    if waiting[1] then redis.call('ZREM', key, waiting[1]) end
  until not waiting[1] or wake_job(waiting[1], iso)
  if redis.call('EXISTS', K.order(order)) == 0 and redis.call('EXISTS', key) == 0 then redis.call('SREM', K.orders(), order) end
end

-- The newest event of a key for which `latest=` opened a job: {seq, id}, or none.
local function newest(policy)
  local seq, id = string.match(redis.call('GET', K.latest_opened(policy.latest)) or '', '^(%d+) (.+)$')
  return tonumber(seq), id
end

-- Whether an event that is older than the newest of a key may still be routed: its worker died, or a pause holds it.
local function older_to_come(policy)
  local last = newest(policy)
  if not last or redis.call('EXISTS', K.parked_reasons()) == 1 then return last end
  return redis.call('ZRANGEBYSCORE', K.unrouted(), '-inf', '(' .. int(last), 'LIMIT', 0, 1)[1]
end

-- A run has ended or will wait: let go of its place in an order, under a limit and among the latest; the next one's turn has come.
-- One that never began (`quiet`) has not failed, and yields to nobody.
local function settle(job, state, policy, iso, quiet)
  if not policy then return end
  policy = cjson.decode(policy)
  local finished = state == 'done' or state == 'skipped' or (state == 'dead' and policy.on_dead ~= 'hold')
  if policy.order then
    -- One that yielded had left the order, and holds its key now that it is dead.
    if state == 'dead' and not finished then redis.call('ZADD', K.order(policy.order), 'NX', seq_of(job), job) end
    local ran = redis.call('GET', K.order_busy(policy.order)) == job
    if ran then redis.call('DEL', K.order_busy(policy.order)) end
    local left = finished or (policy.yields and state == 'due' and not quiet)
    if left then redis.call('ZREM', K.order(policy.order), job) end
    if finished then redis.call('ZREM', K.order_queue(policy.order), job) end
    if ran or left then wake_in_order(policy.order, job, iso) end
  end
  if policy.latest and (finished or state == 'dead') then
    redis.call('ZREM', K.latest(policy.latest), job)
    -- With no job of the key left open there is none that the newest could overtake, but for one of an older event that was put off.
    if redis.call('EXISTS', K.latest(policy.latest)) == 0 and not older_to_come(policy) then
      redis.call('DEL', K.latest_opened(policy.latest))
    end
  end
  if policy.batch and state == 'due' then offer(job, policy, redis.call('HGET', K.job(job), 'due')) end
  -- A batch has one place, which its lead holds: who was taken along has none to give back.
  if policy.limit then
    local had = redis.call('ZREM', K.limit(policy.limit), job) == 1
    if had or state == 'skipped' then pass_on(policy, iso) end
  end
  if policy.rate and quiet then give_start_back(job, policy, state) end
end

-- A job that a newer one of its key leaves nothing to do. On hold it is let go of, too.
local function supersede(job, iso, newer)
  local was = redis.call('HMGET', K.job(job), 'state', 'policy')
  redis.call('HSET', K.job(job), 'state', 'skipped', 'reason', 'superseded by event ' .. newer, 'ended', instant)
  redis.call('HDEL', K.job(job), 'given', 'slot')
  not_due('j', job)
  if was[1] == 'held' then unpark('j', job) end
  shift(job, was[1], 'skipped')
  settle(job, 'skipped', was[2] or nil, iso)
  count('skipped')
end

-- Whether a pause of the job's source was ended just now, and events of it are not back yet among those to be routed.
local function comes_back(job)
  if redis.call('EXISTS', K.parked_reasons()) == 0 then return false end
  local pause = 'source:' .. source_of('j', job)
  return redis.call('EXISTS', K.parked('paused:' .. pause)) == 1 and redis.call('SISMEMBER', K.paused(), pause) == 0
end

local function earlier_of(sources, before)
  for _, source in ipairs(sources) do
    if redis.call('ZRANGEBYSCORE', K.unrouted_of(source), '-inf', before, 'LIMIT', 0, 1)[1] then return true end
  end
  return false
end

-- Whether an earlier event may still open a job of the same order. Of a record that is known; of a key of the user's own it may be any
-- that the handler can want. What a pause of another source holds is not waited for: that may last for days.
local function may_be_overtaken(job, policy, seq)
  local before = '(' .. seq
  if comes_back(job) then return true end
  if not redis.call('ZRANGEBYSCORE', K.unrouted(), '-inf', before, 'LIMIT', 0, 1)[1] then return false end
  if policy.sources then return earlier_of(policy.sources, before) end
  if not policy.record then return true end
  for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', K.events_of_record(policy.record), before, '-inf', 'LIMIT', 0, 500)) do
    if redis.call('ZSCORE', K.unrouted(), id) then return true end
  end
  return false
end

-- Put off: due at a time, and given no slip until then.
local function put_off(job, at, ...)
  redis.call('HSET', K.job(job), 'due', int(at), 'given', 0, ...)
  due_at('j', job, at)
end

-- Whether the order of a job lets it start: one at a time of its key, the first of those that are in the order.
local function has_turn(job, policy, seq, lane)
  local busy = redis.call('GET', K.order_busy(policy.order))
  local in_order = redis.call('ZSCORE', K.order(policy.order), job)
  if busy and busy ~= job and redis.call('HGET', K.job(busy), 'state') == 'running' then
    not_due('j', job)
    if not in_order then
      redis.call('ZADD', K.order_queue(policy.order), int(tonumber(seq) + (lane and BEHIND or 0)), job)
      redis.call('SADD', K.orders(), policy.order)
    end
    return false
  end
  if in_order and redis.call('ZRANGE', K.order(policy.order), 0, 0)[1] ~= job then
    not_due('j', job)
    return false
  end
  if in_order and may_be_overtaken(job, policy, seq) then
    put_off(job, now + 20)
    return false
  end
  return true
end

-- Whether the rate of a job lets it start: the last starts of its window are known. Who must wait is promised a time, one after the
-- other, and is let in by whoever comes later; a replay by all that is live.
local function has_rate(job, policy, slot, lane)
  -- A job that an older version opened was told how many at once, and how far apart.
  local most, window = policy.starts or 2 * policy.burst, policy.window or policy.every * policy.burst
  local first = redis.call('LINDEX', K.rate(policy.rate), most - 1)
  local free = first and tonumber(first) + window or 0
  local promised = tonumber(redis.call('GET', K.rate_promised(policy.rate, '')) or 0)
  slot = slot and tonumber(slot)
  local own = lane and tonumber(redis.call('GET', K.rate_promised(policy.rate, lane)) or 0) or promised
  if free <= now and (not lane or promised <= now) and (slot or own <= now) then return true end
  -- Its time has come and somebody was a moment earlier: it keeps its place. After an outage all stand in line anew.
  if slot and not lane and slot > now - window then
    put_off(job, math.max(free, slot, now + 1))
    return false
  end
  local at = math.max(free, promised, own + window / most, now + 1)
  redis.call('SET', K.rate_promised(policy.rate, lane or ''), int(at), 'PX', int(at - now + window))
  put_off(job, at, 'slot', int(at))
  return false
end

-- A place under a limit is given up by who ended. Where its lease ran out the sweep finds out what became of the run, and ends it.
local function free_places(limit)
  for _, job in ipairs(redis.call('ZRANGEBYSCORE', K.limit(limit), '-inf', int(now), 'LIMIT', 0, 100)) do
    if redis.call('HGET', K.job(job), 'state') ~= 'running' then redis.call('ZREM', K.limit(limit), job) end
  end
end

local function has_place(job, policy, lease, lane)
  free_places(policy.limit)
  if redis.call('ZCARD', K.limit(policy.limit)) < policy.most then
    redis.call('ZADD', K.limit(policy.limit), int(now + lease), job)
    return true
  end
  redis.call('ZADD', K.limit_queue(policy.limit), 'NX', int(now + (lane and BEHIND or 0)), job)
  redis.call('SADD', K.limits(), policy.limit)
  not_due('j', job)
  if policy.rate then redis.call('HSET', K.job(job), 'slot', instant) end
  return false
end

-- Whether a job of a batch may lead one: not while another is about to take it along.
local function may_lead(job, policy, lane)
  local leads = tonumber(redis.call('GET', K.batch_leads(policy.batch, lane or '')) or 0)
  if leads == 0 then return true end
  local waiting = redis.call('ZCOUNT', K.batch(policy.batch, lane or ''), '-inf', int(now))
  if waiting - leads * (policy.size - 1) >= policy.size then return true end
  put_off(job, now + 50)
  return false
end

-- It leads from now on, and has a second to take along whom it will: gather.lua says that it did.
local function lead(job, policy, lane, suspect)
  redis.call('ZREM', K.batch(policy.batch, lane or ''), job)
  if suspect or policy.size < 2 then return end
  redis.call('INCR', K.batch_leads(policy.batch, lane or ''))
  redis.call('PEXPIRE', K.batch_leads(policy.batch, lane or ''), 1000)
end

-- What keeps a job from its start before it asks for a place, or nil.
local function held_up(job, policy, seq, slot, lane, suspect)
  if policy.batch and not suspect and not may_lead(job, policy, lane) then return 'batch' end
  if policy.order and not has_turn(job, policy, seq, lane) then return 'turn' end
  if policy.rate and not has_rate(job, policy, slot, lane) then return 'rate' end
  return nil
end

-- Whether a job may start now; else why not, with the job put where what it waits for will find it. `lane`: of a replay, which a
-- person wants, and live ones do not wait for.
local function may_start(job, policy, seq, slot, lease, lane, iso, suspect)
  if not policy then return nil end
  policy = cjson.decode(policy)
  lane = lane and lane ~= '' and lane or nil
  if policy.latest and not lane then
    local last, newer = newest(policy)
    if last and last > tonumber(seq) then
      supersede(job, iso, newer)
      return 'skipped'
    end
  end
  local why = held_up(job, policy, seq, slot, lane, suspect)
  if why then
    if policy.limit then pass_on(policy, iso) end
    return why
  end
  if policy.limit and not has_place(job, policy, lease, lane) then return 'limit' end
  if policy.batch then lead(job, policy, lane, suspect) end
  if policy.order then redis.call('SET', K.order_busy(policy.order), job) end
  if policy.rate then
    local most, window = policy.starts or 2 * policy.burst, policy.window or policy.every * policy.burst
    redis.call('LPUSH', K.rate(policy.rate), instant)
    redis.call('LTRIM', K.rate(policy.rate), 0, most - 1)
    redis.call('PEXPIRE', K.rate(policy.rate), int(window + 1000))
    redis.call('HDEL', K.job(job), 'slot')
  end
  if policy.latest then redis.call('DEL', K.latest_since(policy.latest)) end
  return nil
end
