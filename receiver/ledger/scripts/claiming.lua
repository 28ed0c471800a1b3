-- Taking an event or a job for one run: a compare-and-set.
-- Answers {'ok', tries, deaths, suspect, generation, lane, made, now, and what `told` says} or {why not}.

-- An event as it is kept, with its sequence, the delivery whose line tells it, and what it learnt later: {seq, delivery, cause,
-- depth, kept}; none where it is gone.
local function as_kept(event, seq, delivery, cause, depth)
  local kept = seq and redis.call('GET', delivery and K.delivery(delivery) or K.fact(event))
  return kept and { seq, delivery or '', cause or '', depth or '0', kept }
end

local function told(event)
  return as_kept(event, unpack(redis.call('HMGET', K.event(event), 'seq', 'delivery', 'cause', 'depth')))
end

local function claimed(found, it)
  return { 'ok', found[4] or '0', found[5] or '0', found[6] or '', found[7] or '0', found[8] or '', found[9] or '0', instant, unpack(it) }
end

-- What a claim looks at; of a job its limits too, of an event what tells it.
local function look(key, ...)
  return redis.call('HMGET', key, 'state', 'run', 'due', 'tries', 'deaths', 'suspect', 'generation', 'lane', 'made', 'worker', ...)
end

local function claim(kind, id, run, token, lease, alone, iso)
  local key, found, it = key_of(kind, id), nil, nil
  if kind == 'e' then
    found = look(key, 'seq', 'delivery', 'cause', 'depth')
    it = as_kept(id, found[11], found[12], found[13], found[14])
  else
    found = look(key, 'policy', 'slot', 'isolated')
    it = told(string.match(id, '^([^:]+):'))
  end
  local state, policy = found[1], kind == 'j' and found[11]
  if not (state and it) then return { 'gone' } end
  run = tonumber(run)
  -- The answer of this very claim was lost, and it asks again.
  if state == 'running' and tonumber(found[2]) == run and found[10] == token then return claimed(found, it) end
  if state ~= 'due' then return { state } end
  if tonumber(found[2]) + 1 ~= run then return { 'stale' } end
  if tonumber(found[3]) > now then return { 'early' } end
  -- What was running when its process died runs next in a process of its own.
  local isolated = kind == 'j' and found[13] == '1'
  if (found[6] == '1' or isolated) and alone ~= '1' then return { 'suspect' } end
  local why = policy and may_start(id, policy, it[1], found[12], lease, found[8], iso, found[6] == '1')
  if why then return { why } end

  redis.call('HSET', key, 'state', 'running', 'run', int(run), 'worker', token, 'since', instant)
  -- How long a job is tried is counted from its first run: what it waited for before is not its fault.
  if kind == 'j' and run == 1 then
    found[9] = instant
    redis.call('HSET', key, 'made', instant)
  end
  if alone == '1' then redis.call('HSET', key, 'alone', '1') end
  due_at(kind, id, now + lease)
  if kind == 'j' then shift(id, state, 'running') end
  return claimed(found, it)
end

-- A slip that a worker has, {id, queue, execution, data}, with what it names claimed: kind, id, run, token and the answer of `claim`
-- are added. The token follows from the execution, so that asking again after a lost answer gives the same claim. A slip in any
-- other spelling is left to the worker to read.
local SLIP = '^%["receiver%.routing%.slips%.work",null,%["([ej])","([^"\\]+)",(%d+)%],{}%]$'

local function claimed_slip(slip, worker, lease, iso)
  local kind, id, run = string.match(slip[4], SLIP)
  if not kind then return slip end
  local token = worker .. '#' .. string.sub(slip[3], 1, 8)
  slip[5], slip[6], slip[7], slip[8] = kind, id, run, token
  local answer = each(claim, kind, id, run, token, lease, '', iso)
  if type(answer) ~= 'table' then answer = { answer } end
  for at = 1, #answer do slip[8 + at] = answer[at] end
  return slip
end
