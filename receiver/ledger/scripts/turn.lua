-- One turn of a worker: strike off the slips it has done, take new ones and claim what they name, with RQ's own bookkeeping.
-- RQ's registries are written in the same step as the pop, so no crash between the two can lose a slip from sight.
-- What a handler has no room for is set aside, in a queue of that handler's: `QUEUE/HANDLER`. Uses claiming.lua.
-- Uses rooms.lua.
-- ARGV: iso, worker name, seconds of heartbeat, lease (ms, 0: claim nothing), how many, how many of them may be replays, most slips of
--   a source that may wait in a queue, again (ms), the room that handlers have here (JSON, see rooms.lua), number of queues,
--   queues..., as JSON a list per done slip: id, queue, execution, how many of the runs that ended failed, seconds that threads worked
-- Answers how many slips RQ sees under way here, whether `rq suspend` is in force, whether there were writes of ours lately, the
--   queues of what was set aside (a line each), and per slip taken a list told flat: id, queue, execution, data, and where it was
--   claimed kind, id, run, token and what `claim` answers.

local iso, worker, beat, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local want, replays, most, again, queues = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[10])
local FIRST, REFILLED, MOVED = 11, 128, 500
read_rooms(ARGV[9])
local mine = K.rq_worker_executions(worker)
local at_once, silent, gone_after = string.format('%.3f', now / 1000), int(now / 1000 + beat), int(now / 1000 + beat + 60)
local kept_for = int(beat + 60)

local function strike_off()
  local gone, executions, struck = {}, {}, 0
  for _, slip in ipairs(cjson.decode(ARGV[FIRST + queues])) do
    local id, queue, execution = unpack(slip)
    local size, composite = #gone, id .. ':' .. execution
    gone[size + 1], gone[size + 2], gone[size + 3] = K.rq_job(id), K.rq_execution(id, execution), K.rq_executions(id)
    executions[#executions + 1] = composite
    unindex(K.rq_wip(queue), composite)
  end
  local failed, spent = tonumber(ARGV[FIRST + queues + 1]), ARGV[FIRST + queues + 2]
  if #gone == 0 and failed == 0 and tonumber(spent) == 0 then return end
  for first = 1, #gone, 1000 do redis.call('DEL', unpack(gone, first, math.min(first + 999, #gone))) end
  for first = 1, #executions, 1000 do
    struck = struck + redis.call('SREM', mine, unpack(executions, first, math.min(first + 999, #executions)))
  end
  -- What was struck off by a turn whose answer was lost is counted.
  if struck == 0 and #executions > 0 then return end
  if redis.call('EXISTS', K.rq_worker(worker)) == 1 then
    redis.call('HINCRBY', K.rq_worker(worker), 'successful_job_count', struck - failed)
    redis.call('HINCRBYFLOAT', K.rq_worker(worker), 'total_working_time', spent)
    if failed > 0 then redis.call('HINCRBY', K.rq_worker(worker), 'failed_job_count', failed) end
  end
end

local answers, composites = {}, {}

local function start(id, queue, data)
  local execution = string.sub(redis.sha1hex(id .. worker .. instant), 1, 16)
  local composite, job, key, all = id .. ':' .. execution, K.rq_job(id), K.rq_execution(id, execution), K.rq_executions(id)
  redis.call('HSET', job, 'status', 'started', 'worker_name', worker, 'started_at', iso, 'last_heartbeat', iso)
  redis.call('HSET', key, 'id', execution, 'job_id', id, 'created_at', at_once, 'last_heartbeat', at_once, 'worker_name', worker)
  redis.call('EXPIRE', key, ARGV[3])
  redis.call('ZADD', all, gone_after, execution)
  redis.call('EXPIRE', all, kept_for)
  index(K.rq_wip(queue), silent, composite)
  composites[#composites + 1] = composite
  return { id, queue, execution, data }
end

-- A slip of a job whose handler has no room here, out of the way of the others. One of a source that has too many there waits in the
-- ledger; one that is out of date is nobody's.
local moved = 0
local function set_aside(id, queue, source, job, run)
  local aside, key = queue .. '/' .. handler_of(job), K.job(job)
  moved = moved + 1
  if slips_of(aside, source) < most then
    redis.call('RPUSH', K.rq_queue(aside), id)
    known_queue(aside)
    return add_slips(aside, source, 1)
  end
  redis.call('DEL', K.rq_job(id))
  local found = redis.call('HMGET', key, 'state', 'run')
  if found[1] ~= 'due' or tonumber(found[2]) + 1 ~= tonumber(run) then return end
  redis.call('HSET', key, 'given', 0)
  not_due('j', job)
  wait_for_room('j', job, aside, source)
end

local function take(id, queue, home)
  local found = redis.call('HMGET', K.rq_job(id), 'data', 'source')
  local data, source = found[1], found[2] or ''
  if not data then return end -- how many there are is put right by refill.lua
  add_slips(queue, source, -1)
  if next(rooms) then
    local job, run = string.match(data, '%["j","([^"\\]+)",(%d+)%]')
    if job and room_of(job) <= 0 then return set_aside(id, home, source, job, run) end
    if job then take_room(job) end
  end
  queue = home
  want = want - 1
  if queue == 'zohook_replay' then replays = replays - 1 end
  local slip = start(id, queue, data)
  tell(answers, lease > 0 and claimed_slip(slip, worker, lease, iso) or slip)
end

-- Live events never wait for replays: those have so many threads and no more.
local function room(queue, home)
  local free = home == 'zohook_replay' and math.min(want, replays) or want
  return home == queue and free or math.min(free, rooms[string.sub(queue, #home + 2)] or free)
end

redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua
strike_off()
local suspended = redis.call('EXISTS', K.rq_suspended())
if suspended == 1 then want = 0 end
answers[1], answers[2], answers[3], answers[4] = 0, suspended, 0, ''
for at = FIRST, FIRST - 1 + queues do
  local queue = ARGV[at]
  local home = string.match(queue, '^[^/]+')
  while room(queue, home) > 0 and moved < MOVED do
    local ids = redis.call('LPOP', K.rq_queue(queue), room(queue, home))
    if not ids or #ids == 0 then break end
    for _, id in ipairs(ids) do take(id, queue, home) end
  end
end
-- Whoever takes slips makes room for what waits, so that no worker is idle until somebody sweeps.
if redis.call('EXISTS', K.waits()) == 1 then
  for queue, sources in pairs(more_slips) do
    for source in pairs(sources) do refill(queue, source, most, REFILLED, again, iso) end
  end
end
in_pages('SADD', mine, composites)
if #composites > 0 then redis.call('EXPIRE', mine, kept_for) end
answers[1], answers[3] = redis.call('SCARD', mine), redis.call('EXISTS', K.writes())
if redis.call('EXISTS', K.asides()) == 1 then answers[4] = table.concat(redis.call('SMEMBERS', K.asides()), '\n') end
return answers
