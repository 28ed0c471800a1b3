-- One turn of a worker: strike off the slips it has done, take new ones, all with RQ's own bookkeeping.
-- RQ's registries are written in the same step as the pop, so no crash between the two can lose a slip from sight.
-- ARGV: iso, worker name, seconds of heartbeat, how many, number of queues, queues..., then per done slip: id, queue, execution
-- Answers a flat list per slip taken: id, queue, execution, data.

local iso, worker, beat, want, queues = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local seconds = now / 1000
local taken = {}

local finished = 0
for index = 6 + queues, #ARGV, 3 do
  local id, queue, execution = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  redis.call('DEL', K.rq_job(id), K.rq_execution(id, execution), K.rq_executions(id))
  redis.call('ZREM', K.rq_wip(queue), id .. ':' .. execution)
  redis.call('SREM', K.rq_worker_executions(worker), id .. ':' .. execution)
  finished = finished + 1
end
if finished > 0 and redis.call('EXISTS', K.rq_worker(worker)) == 1 then redis.call('HINCRBY', K.rq_worker(worker), 'successful_job_count', finished) end

for index = 6, 5 + queues do
  local queue = ARGV[index]
  while want > 0 do
    local id = redis.call('LPOP', K.rq_queue(queue))
    if not id then break end
    local data = redis.call('HGET', K.rq_job(id), 'data')
    if data then
      local execution = string.sub(redis.sha1hex(id .. worker .. int(now)), 1, 32)
      local composite = id .. ':' .. execution
      redis.call('HSET', K.rq_job(id), 'status', 'started', 'worker_name', worker, 'started_at', iso, 'last_heartbeat', iso)
      redis.call('HSET', K.rq_execution(id, execution), 'id', execution, 'job_id', id, 'created_at', seconds,
        'last_heartbeat', seconds, 'worker_name', worker)
      redis.call('EXPIRE', K.rq_execution(id, execution), beat)
      redis.call('ZADD', K.rq_executions(id), int(seconds + beat + 60), execution)
      redis.call('EXPIRE', K.rq_executions(id), beat + 60)
      redis.call('ZADD', K.rq_wip(queue), int(seconds + beat), composite)
      redis.call('SADD', K.rq_worker_executions(worker), composite)
      redis.call('EXPIRE', K.rq_worker_executions(worker), beat + 60)
      for _, value in ipairs({ id, queue, execution, data }) do taken[#taken + 1] = value end
      want = want - 1
    end
  end
end
return taken
