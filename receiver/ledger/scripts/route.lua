-- Finish routing an event: open a job for each handler that wants it. Running it again opens nothing twice.
-- ARGV: iso, event, run, worker, lease (ms), again (ms), claim first ('1'), number of handlers,
--   then per handler: id, state (due, dead or skipped), reason, attempt (JSON, for dead), queue, policy (JSON or '')
-- Answers {'fenced'} or {'ok', job claimed or '', number opened}.

local iso, event, run, worker = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local lease, again, claim_first, handlers = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1', tonumber(ARGV[8])
local key = K.event(event)
local found = redis.call('HMGET', key, 'state', 'run', 'worker', 'seq')
if found[1] ~= 'running' or tonumber(found[2]) ~= run or found[3] ~= worker then return { 'fenced' } end
local seq = found[4]
redis.call('ZREM', K.unrouted(), event)

local function skip(job, reason)
  local was = redis.call('HMGET', K.job(job), 'state', 'policy')
  redis.call('HSET', K.job(job), 'state', 'skipped', 'reason', reason, 'ended', int(now))
  redis.call('ZREM', K.due(), member('j', job))
  shift(job, was[1], 'skipped')
  open_jobs(job, was[1], 'skipped')
  settle(job, 'skipped', was[2] or nil, iso)
  count('skipped')
end

-- Older jobs of the key that still wait are superseded. True if a newer one waits already, so that this one is.
local function supersede(job, policy)
  local waiting = redis.call('ZRANGE', K.latest(policy.latest), 0, -1, 'WITHSCORES')
  for index = 1, #waiting, 2 do
    if tonumber(waiting[index + 1]) > tonumber(seq) then return waiting[index] end
  end
  for index = 1, #waiting, 2 do
    local older = waiting[index]
    if redis.call('HGET', K.job(older), 'state') == 'due' then skip(older, 'superseded by event ' .. event) end
  end
  redis.call('ZADD', K.latest(policy.latest), seq, job)
end

local function debounced(policy)
  local since = redis.call('GET', K.latest_since(policy.latest))
  if not since then
    since = int(now)
    redis.call('SET', K.latest_since(policy.latest), since, 'PX', 86400000)
  end
  return math.max(now, math.min(now + policy.debounce, tonumber(since) + policy.longest))
end

-- A batch waits for company until it is full, or until its oldest has waited for as long as it may.
local function gathered(job, policy)
  local full = redis.call('ZCOUNT', offer(job, policy, now), '-inf', int(now)) % policy.size == 0
  return full and now or now + policy.gather
end

local claimed, opened = '', 0

local function open(handler, queue, text)
  local job = event .. ':' .. handler
  local record, due = K.job(job), now
  redis.call('HSET', record, 'state', 'due', 'run', 0, 'tries', 0, 'made', int(now), 'queue', queue)
  local policy = nil
  if text ~= '' then
    policy = cjson.decode(text)
    redis.call('HSET', record, 'policy', text)
    if policy.isolated then redis.call('HSET', record, 'isolated', '1') end
    if policy.order then
      redis.call('ZADD', K.order(policy.order), seq, job)
      redis.call('SADD', K.orders(), policy.order)
    end
  end
  shift(job, '', 'due')
  open_jobs(job, '', 'due')
  if policy and policy.latest then
    local newer = supersede(job, policy)
    if newer then return skip(job, 'superseded by event ' .. string.match(newer, '^([^:]+):')) end
    if policy.debounce then due = debounced(policy) end
  end
  if policy and policy.batch then due = gathered(job, policy) end
  redis.call('HSET', record, 'due', int(due))
  if due > now then
    redis.call('ZADD', K.due(), int(due), member('j', job))
    return
  end
  if claim_first and claimed == '' and not (policy and policy.isolated) then
    if not (policy and may_start(job, text, seq, nil, lease)) then
      claimed = job
      redis.call('HSET', record, 'state', 'running', 'run', 1, 'worker', worker, 'since', int(now))
      redis.call('ZADD', K.due(), int(now + lease), member('j', job))
      shift(job, 'due', 'running')
    end
    return
  end
  if policy and policy.order and redis.call('ZRANGE', K.order(policy.order), 0, 0)[1] ~= job then return end
  redis.call('ZADD', K.due(), int(now + again), member('j', job))
  give('j', job, 1, queue, iso)
end

for index = 0, handlers - 1 do
  local base = 8 + index * 6
  local handler, state, reason, attempt = ARGV[base + 1], ARGV[base + 2], ARGV[base + 3], ARGV[base + 4]
  local job = event .. ':' .. handler
  if redis.call('EXISTS', K.job(job)) == 0 then
    opened = opened + 1
    redis.call('SADD', K.jobs_of(event), handler)
    if state ~= 'due' then
      redis.call('HSET', K.job(job), 'state', state, 'run', 0, 'tries', 0, 'due', int(now), 'made', int(now),
        'ended', int(now), 'reason', reason)
      if attempt ~= '' then note_attempt(job, attempt) end
      shift(job, '', state)
      count(state)
    else
      open(handler, ARGV[base + 5], ARGV[base + 6])
    end
  end
end
local state = 'routed'
if redis.call('SCARD', K.jobs_of(event)) == 0 then state = 'unmatched' end
redis.call('HSET', key, 'state', state)
redis.call('HDEL', key, 'worker', 'since', 'alone', 'given')
redis.call('ZREM', K.due(), member('e', event))
redis.call('ZREM', K.events_in_state('unmatched'), event)
if state == 'unmatched' then redis.call('ZADD', K.events_in_state('unmatched'), int(now), event) end
count(state)
flush_counts()
return { 'ok', claimed, opened }
