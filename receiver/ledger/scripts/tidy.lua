-- Sweep what RQ keeps of jobs that have ended and of workers that died. No slip needs it: the ledger knows what is open.
-- ARGV: the beginning of our queues' names, most of each registry. Answers how much was swept.

local ours, most = ARGV[1], tonumber(ARGV[2])
local seconds = math.floor(now / 1000)
local swept = 0

-- A stock RQ worker keeps a failed slip for as long as that says, an hour; anything else is kept no longer.
local function ended(name, registry)
  local index = K.rq_ended(registry, name)
  for _, id in ipairs(redis.call('ZRANGE', index, 0, most - 1)) do
    local key = K.rq_job(string.match(id, '^[^:]+'))
    local life = redis.call('TTL', key)
    if life == -1 or life > 3600 then redis.call('EXPIRE', key, 3600) end
    if redis.call('EXISTS', key) == 0 then
      redis.call('ZREM', index, id)
      swept = swept + 1
    end
  end
end

-- What a worker had under way when it died, of queues that no living worker serves.
local function silent(name)
  for _, composite in ipairs(redis.call('ZRANGEBYSCORE', K.rq_wip(name), '-inf', int(seconds - 60), 'LIMIT', 0, most)) do
    local id, execution = string.match(composite, '^(.+):(.+)$')
    redis.call('ZREM', K.rq_wip(name), composite)
    if id then redis.call('DEL', K.rq_job(id), K.rq_execution(id, execution), K.rq_executions(id)) end
    swept = swept + 1
  end
end

local function gone(workers)
  for _, worker in ipairs(redis.call('SMEMBERS', workers)) do
    if redis.call('EXISTS', worker) == 0 then
      redis.call('SREM', workers, worker)
      swept = swept + 1
    end
  end
end

for _, queue in ipairs(redis.call('SMEMBERS', K.rq_queues())) do
  local name = string.sub(queue, #K.rq_queue('') + 1)
  if string.sub(name, 1, #ours) == ours then
    for _, registry in ipairs({ 'finished', 'failed', 'canceled' }) do ended(name, registry) end
    silent(name)
    gone(K.rq_workers_of(name))
  end
end
gone(K.rq_workers())
return swept
