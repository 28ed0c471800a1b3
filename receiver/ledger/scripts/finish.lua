-- End a run: attempt record, state, indexes and the next due time in one step. A run that is not the job's own is refused.
-- ARGV: kind, id, run, worker, state (done, due, skipped, dead, held), due (ms), tries, reason, attempt (JSON or ''),
--   iso, zoho calls, received (ms), quiet ('1': nothing is counted, the run never began), parked reason
-- Answers 'ok' or 'fenced'.

local kind, id, run, worker, state, due = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
local tries, reason, attempt, iso, calls = ARGV[7], ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])
local received, quiet, parked = tonumber(ARGV[12]), ARGV[13] == '1', ARGV[14]
local key = key_of(kind, id)
local found = redis.call('HMGET', key, 'state', 'run', 'worker', 'policy')
if found[1] ~= 'running' or tonumber(found[2]) ~= run or found[3] ~= worker then return 'fenced' end

-- First a write that needs no memory: a full Redis refuses any other first one, and lets a script that has begun go on.
-- What ends work makes room, so it must never be refused. (Claims, renewals and the sweep begin alike.)
redis.call('HDEL', key, 'worker', 'since', 'alone')
redis.call('HSET', key, 'state', state, 'tries', tries, 'reason', reason, 'due', int(due), 'given', 0)
if attempt ~= '' then note_attempt(id, attempt) end
if calls > 0 then count('zoho_calls', calls) end
if state == 'due' then
  redis.call('ZADD', K.due(), int(due), member(kind, id))
elseif state == 'held' then
  park(kind, id, parked)
else
  redis.call('ZREM', K.due(), member(kind, id))
  redis.call('HSET', key, 'ended', int(now))
end
if kind == 'j' then
  shift(id, 'running', state)
  open_jobs(id, 'running', state)
  settle(id, state, found[4], iso)
  if state == 'done' then redis.call('HDEL', key, 'reason', 'suspect', 'deaths', 'given') end
  if not quiet then
    if state == 'due' then count('retried') else count(state) end
    count(state .. ':' .. handler_of(id))
  end
  if state == 'done' or state == 'skipped' or state == 'dead' then
    redis.call('LPUSH', K.latencies(), int(now - received))
    redis.call('LTRIM', K.latencies(), 0, 999)
    redis.call('LPUSH', K.recent_jobs(), id)
    redis.call('LTRIM', K.recent_jobs(), 0, 199)
  end
elseif state == 'dead' then
  redis.call('ZREM', K.unrouted(), id)
  redis.call('ZADD', K.events_in_state('dead'), int(now), id)
  count('dead')
end
flush_counts()
return 'ok'
