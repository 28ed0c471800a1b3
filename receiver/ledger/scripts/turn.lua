-- One turn of a worker: strike off the slips it has done, take new ones and claim what they name, with RQ's own bookkeeping.
-- RQ's registries are written in the same step as the pop, so no crash between the two can lose a slip from sight.
-- Uses claiming.lua.
-- ARGV: iso, worker name, seconds of heartbeat, lease (ms, 0: claim nothing), how many, how many of them may be replays, number
--   of queues, queues..., and as JSON a list per done slip: id, queue, execution
-- Answers how many slips RQ sees under way here, whether `rq suspend` is in force, whether there were writes of ours lately, and
--   per slip taken a list told flat: id, queue, execution, data, and where it was claimed kind, id, run, token and what `claim`
--   answers.

local iso, worker, beat, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local want, replays, queues = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local seconds, mine = now / 1000, K.rq_worker_executions(worker)

local function strike_off()
  local gone, executions = {}, {}
  for _, slip in ipairs(cjson.decode(ARGV[8 + queues])) do
    local id, queue, execution = unpack(slip)
    local size, composite = #gone, id .. ':' .. execution
    gone[size + 1], gone[size + 2], gone[size + 3] = K.rq_job(id), K.rq_execution(id, execution), K.rq_executions(id)
    executions[#executions + 1] = composite
    unindex(K.rq_wip(queue), composite)
  end
  if #gone == 0 then return end
  for first = 1, #gone, 1000 do redis.call('DEL', unpack(gone, first, math.min(first + 999, #gone))) end
  in_pages('SREM', mine, executions)
  if redis.call('EXISTS', K.rq_worker(worker)) == 1 then
    redis.call('HINCRBY', K.rq_worker(worker), 'successful_job_count', #executions)
  end
end

local answers, composites = {}, {}

local function start(id, queue, data)
  local execution = string.sub(redis.sha1hex(id .. worker .. instant), 1, 16)
  local composite, job, key, all = id .. ':' .. execution, K.rq_job(id), K.rq_execution(id, execution), K.rq_executions(id)
  redis.call('HSET', job, 'status', 'started', 'worker_name', worker, 'started_at', iso, 'last_heartbeat', iso)
  redis.call('HSET', key, 'id', execution, 'job_id', id, 'created_at', seconds, 'last_heartbeat', seconds, 'worker_name', worker)
  redis.call('EXPIRE', key, beat)
  redis.call('ZADD', all, int(seconds + beat + 60), execution)
  redis.call('EXPIRE', all, beat + 60)
  index(K.rq_wip(queue), int(seconds + beat), composite)
  composites[#composites + 1] = composite
  return { id, queue, execution, data }
end

local function take(id, queue)
  local data = redis.call('HGET', K.rq_job(id), 'data')
  if not data then return end
  want = want - 1
  if queue == 'zohook_replay' then replays = replays - 1 end
  local slip = start(id, queue, data)
  tell(answers, lease > 0 and claimed_slip(slip, worker, lease) or slip)
end

-- Live events never wait for replays: those have so many threads and no more.
local function room(queue) return queue == 'zohook_replay' and math.min(want, replays) or want end

redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua
strike_off()
local suspended = redis.call('EXISTS', K.rq_suspended())
if suspended == 1 then want = 0 end
answers[1], answers[2], answers[3] = 0, suspended, 0
for at = 8, 7 + queues do
  local queue = ARGV[at]
  while room(queue) > 0 do
    local ids = redis.call('LPOP', K.rq_queue(queue), room(queue))
    if not ids or #ids == 0 then break end
    for _, id in ipairs(ids) do take(id, queue) end
  end
end
in_pages('SADD', mine, composites)
if #composites > 0 then redis.call('EXPIRE', mine, beat + 60) end
answers[1], answers[3] = redis.call('SCARD', mine), redis.call('EXISTS', K.writes())
return answers
