-- Taking an event or a job for one run: a compare-and-set.
-- Answers {'ok', tries, deaths, suspect, generation, lane, made, and what `told` says} or {why not}.

-- An event as it is kept, with its sequence, the delivery whose line tells it, and what it learnt later: {seq, delivery, cause,
-- depth, kept}; none where it is gone.
local function told(event)
  local found = redis.call('HMGET', K.event(event), 'seq', 'delivery', 'cause', 'depth')
  local kept = found[1] and redis.call('GET', found[2] and K.delivery(found[2]) or K.fact(event))
  return kept and { found[1], found[2] or '', found[3] or '', found[4] or '0', kept }
end

local function claim(kind, id, run, token, lease, alone)
  local key = key_of(kind, id)
  local found = redis.call('HMGET', key, 'state', 'run', 'due', 'tries', 'deaths', 'suspect', 'generation', 'lane', 'made', 'policy', 'slot', 'isolated')
  local state = found[1]
  if not state then return { 'gone' } end
  run = tonumber(run)

  local function claimed(it)
    return { 'ok', found[4] or '0', found[5] or '0', found[6] or '', found[7] or '0', found[8] or '', found[9] or '0', unpack(it) }
  end

  local it = told(kind == 'e' and id or string.match(id, '^([^:]+):'))
  if not it then return { 'gone' } end
  -- The answer of this very claim was lost, and it asks again.
  if state == 'running' and tonumber(found[2]) == run and redis.call('HGET', key, 'worker') == token then return claimed(it) end
  if state ~= 'due' then return { state } end
  if tonumber(found[2]) + 1 ~= run then return { 'stale' } end
  if tonumber(found[3]) > now then return { 'early' } end
  -- What was running when its process died runs next in a process of its own.
  if (found[6] == '1' or found[12] == '1') and alone ~= '1' then return { 'suspect' } end
  if kind == 'j' and found[10] then
    local why = may_start(id, found[10], it[1], found[11], lease)
    if why then return { why } end
  end

  redis.call('HSET', key, 'state', 'running', 'run', int(run), 'worker', token, 'since', instant)
  if alone == '1' then redis.call('HSET', key, 'alone', '1') end
  due_at(kind, id, now + lease)
  if kind == 'j' then shift(id, state, 'running') end
  return claimed(it)
end

-- A slip that a worker has, {id, queue, execution, data}, with what it names claimed: kind, id, run, token and the answer of `claim`
-- are added. The token follows from the execution, so that asking again after a lost answer gives the same claim. A slip in any
-- other spelling is left to the worker to read.
local SLIP = '^%["receiver%.routing%.slips%.work",null,%["([ej])","([^"\\]+)",(%d+)%],{}%]$'

local function claimed_slip(slip, worker, lease)
  local kind, id, run = string.match(slip[4], SLIP)
  if not kind then return slip end
  local token = worker .. '#' .. string.sub(slip[3], 1, 8)
  slip[5], slip[6], slip[7], slip[8] = kind, id, run, token
  local answer = each(claim, kind, id, run, token, lease, '')
  if type(answer) ~= 'table' then answer = { answer } end
  for at = 1, #answer do slip[8 + at] = answer[at] end
  return slip
end
