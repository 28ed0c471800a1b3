-- End runs: attempt record, state, indexes and the next due time in one step. A run that is not the job's own is refused.
-- ARGV: iso, and as JSON a list per run: kind, id, run, token of its claim, state (done, due, skipped, dead, held), the time that
--   was named for state due (ms, or '0': after the wait), wait (ms, from now), tries, reason, attempt (JSON or ''), zoho calls,
--   received (ms), quiet ('1': nothing is counted, the run never began), parked reason
-- Answers per run 'ok', 'fenced' or 'error: ...'. One that was ended just so before, whose answer was lost, is 'ok' again.

local iso = ARGV[1]
local waits, recent = {}, {}

local function finish(kind, id, run, token, state, due, wait, tries, reason, attempt, calls, received, quiet, parked)
  local key = key_of(kind, id)
  local found = redis.call('HMGET', key, 'state', 'run', 'worker', 'policy', 'due')
  if found[2] ~= run or found[3] ~= token then return 'fenced' end
  if found[1] ~= 'running' then return found[1] == state and 'ok' or 'fenced' end
  if state == 'due' and due == '0' then due = int(now + tonumber(wait)) end
  -- A pause that was ended a moment ago would hold this run until somebody looks again.
  local pause = state == 'held' and string.match(parked, '^paused:(.+)$')
  if pause and redis.call('SISMEMBER', K.paused(), pause) == 0 then state, due, reason = 'due', instant, '' end

  local over = state == 'done' or state == 'skipped' or state == 'dead'
  if state == 'done' then
    redis.call('HSET', key, 'state', state, 'tries', tries, 'ended', instant)
    -- A run that was claimed as its job was opened has none of these.
    if found[5] then redis.call('HDEL', key, 'reason', 'suspect', 'deaths', 'spared', 'given', 'due', 'alone') end
  elseif over then
    redis.call('HSET', key, 'state', state, 'tries', tries, 'reason', reason, 'ended', instant)
    redis.call('HDEL', key, 'given', 'alone')
  else
    redis.call('HSET', key, 'state', state, 'tries', tries, 'reason', reason, 'due', due, 'given', 0)
    redis.call('HDEL', key, 'alone')
  end
  if attempt ~= '' then note_attempt(id, attempt) end
  if calls ~= '0' then count('zoho_calls', tonumber(calls)) end
  if state == 'due' then
    due_at(kind, id, tonumber(due))
  elseif state == 'held' then
    park(kind, id, parked)
    if kind == 'e' then not_to_be_routed(id, source_of(kind, id)) end
  else
    not_due(kind, id)
  end
  if kind == 'j' then
    shift(id, 'running', state)
    settle(id, state, found[4], iso, quiet == '1')
    if quiet ~= '1' then
      count(state == 'due' and 'retried' or state)
      count(state .. ':' .. handler_of(id))
    end
    if over then
      waits[#waits + 1] = int(now - tonumber(received))
      recent[#recent + 1] = id
    end
  elseif state == 'dead' then
    not_to_be_routed(id, source_of(kind, id))
    index(K.events_in_state('dead'), instant, id)
    count('dead')
  end
  return 'ok'
end

-- First a write that needs no memory: a full Redis refuses any other first one, and lets a script that has begun go on.
-- What ends work makes room, so it must never be refused. (Claims, turns, renewals and the sweep begin alike.)
redis.call('ZREM', K.due(), '')
local answers = {}
for number, ending in ipairs(cjson.decode(ARGV[2])) do answers[number] = each(finish, unpack(ending)) end
if #recent > 0 then
  in_pages('LPUSH', K.latencies(), waits)
  redis.call('LTRIM', K.latencies(), 0, 999)
  in_pages('LPUSH', K.recent_jobs(), recent)
  redis.call('LTRIM', K.recent_jobs(), 0, 199)
end
return answers
