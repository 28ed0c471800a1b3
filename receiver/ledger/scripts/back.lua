-- Give back slips that were taken but not begun, to the head of their queues. ARGV: worker name, then per slip: id, queue, execution

for index = 2, #ARGV, 3 do
  local id, queue, execution = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  redis.call('DEL', K.rq_execution(id, execution), K.rq_executions(id))
  redis.call('ZREM', K.rq_wip(queue), id .. ':' .. execution)
  redis.call('SREM', K.rq_worker_executions(ARGV[1]), id .. ':' .. execution)
  if redis.call('EXISTS', K.rq_job(id)) == 1 then
    redis.call('HSET', K.rq_job(id), 'status', 'queued')
    redis.call('LPUSH', K.rq_queue(queue), id)
    add_slips(queue, redis.call('HGET', K.rq_job(id), 'source') or '', 1)
  end
end
return redis.status_reply('OK')
