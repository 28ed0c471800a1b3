-- Take an event or a job for one run: a compare-and-set. ARGV: kind, id, run, worker, lease (ms), alone ('1': isolated process).
-- Answers {'ok', tries, deaths, suspect, generation, lane, made, event meta, event data, seq} or {why not}.

local kind, id, run, worker, lease, alone = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]), ARGV[6]
local key = key_of(kind, id)
local found = redis.call('HMGET', key, 'state', 'run', 'due', 'tries', 'deaths', 'suspect', 'generation', 'lane', 'made', 'policy', 'slot', 'isolated')
local state = found[1]
if not state then return { 'gone' } end

local function claimed()
  local event = kind == 'e' and id or string.match(id, '^([^:]+):')
  local said = redis.call('HMGET', K.event(event), 'meta', 'data', 'seq')
  return { 'ok', found[4] or '0', found[5] or '0', found[6] or '', found[7] or '0', found[8] or '', found[9] or '0',
    said[1], said[2], said[3] }
end

-- The answer of this very claim was lost, and it asks again.
if state == 'running' and tonumber(found[2]) == run and redis.call('HGET', key, 'worker') == worker then return claimed() end
if state ~= 'due' then return { state } end
if tonumber(found[2]) + 1 ~= run then return { 'stale' } end
if tonumber(found[3]) > now then return { 'early' } end
-- What was running when its process died runs next in a process of its own.
if (found[6] == '1' or found[12] == '1') and alone ~= '1' then return { 'suspect' } end
redis.call('HDEL', key, 'since') -- needs no memory: see finish.lua
if kind == 'j' and found[10] then
  local seq = redis.call('HGET', K.event(string.match(id, '^([^:]+):')), 'seq')
  local why = may_start(id, found[10], seq, found[11], lease)
  if why then return { why } end
end

redis.call('HSET', key, 'state', 'running', 'run', run, 'worker', worker, 'since', int(now), 'alone', alone)
redis.call('ZADD', K.due(), int(now + lease), member(kind, id))
if kind == 'j' then shift(id, state, 'running') end
return claimed()
