-- Finish routing an event: open a job for each handler that wants it. Running it again opens nothing twice.
-- ARGV: iso, event, run, worker, lease (ms), again (ms), claim first ('1'), number of handlers,
--   then per handler: id, state (due or dead), reason, attempt (JSON, for dead), queue
-- Answers {'fenced'} or {'ok', job claimed or '', number opened}.

local iso, event, run, worker = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local lease, again, claim_first, handlers = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1', tonumber(ARGV[8])
local key = K.event(event)
local found = redis.call('HMGET', key, 'state', 'run', 'worker')
if found[1] ~= 'running' or tonumber(found[2]) ~= run or found[3] ~= worker then return { 'fenced' } end

local claimed, opened = '', 0
for index = 0, handlers - 1 do
  local base = 8 + index * 5
  local handler, state, reason, attempt, queue = ARGV[base + 1], ARGV[base + 2], ARGV[base + 3], ARGV[base + 4], ARGV[base + 5]
  local job = event .. ':' .. handler
  if redis.call('EXISTS', K.job(job)) == 0 then
    opened = opened + 1
    redis.call('SADD', K.jobs_of(event), handler)
    if state == 'dead' then
      redis.call('HSET', K.job(job), 'state', 'dead', 'run', 0, 'tries', 0, 'due', int(now), 'made', int(now), 'ended', int(now), 'reason', reason)
      note_attempt(job, attempt)
      shift(job, '', 'dead')
      count('dead')
    elseif claim_first and claimed == '' then
      claimed = job
      redis.call('HSET', K.job(job), 'state', 'running', 'run', 1, 'tries', 0, 'due', int(now), 'made', int(now),
        'worker', worker, 'since', int(now), 'queue', queue)
      redis.call('ZADD', K.due(), int(now + lease), member('j', job))
      shift(job, '', 'running')
      open_jobs(job, '', 'running')
    else
      redis.call('HSET', K.job(job), 'state', 'due', 'run', 0, 'tries', 0, 'due', int(now), 'made', int(now), 'queue', queue)
      redis.call('ZADD', K.due(), int(now + again), member('j', job))
      shift(job, '', 'due')
      open_jobs(job, '', 'due')
      give('j', job, 1, queue, iso)
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
