-- Keep RQ's executions of a worker alive, and forget those whose worker fell silent: the ledger has them again already.
-- ARGV: worker name, seconds of heartbeat, number of queues, queues..., then per slip under way: id, queue, execution
-- Answers how many silent ones were struck off.

local worker, beat, queues = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local seconds = now / 1000
redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua
for index = 4 + queues, #ARGV, 3 do
  local id, queue, execution = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  local key = K.rq_execution(id, execution)
  if redis.call('EXISTS', key) == 1 then
    redis.call('HSET', key, 'last_heartbeat', seconds)
    redis.call('EXPIRE', key, beat)
    redis.call('ZADD', K.rq_wip(queue), int(seconds + beat), id .. ':' .. execution)
    redis.call('ZADD', K.rq_executions(id), int(seconds + beat + 60), execution)
    redis.call('EXPIRE', K.rq_executions(id), beat + 60)
  end
end
redis.call('EXPIRE', K.rq_worker_executions(worker), beat + 60)

local struck = 0
for index = 4, 3 + queues do
  local silent = redis.call('ZRANGEBYSCORE', K.rq_wip(ARGV[index]), '-inf', int(seconds), 'LIMIT', 0, 100)
  for _, composite in ipairs(silent) do
    local id, execution = string.match(composite, '^(.+):(.+)$')
    redis.call('ZREM', K.rq_wip(ARGV[index]), composite)
    redis.call('DEL', K.rq_job(id), K.rq_execution(id, execution), K.rq_executions(id))
    struck = struck + 1
  end
end
return struck
