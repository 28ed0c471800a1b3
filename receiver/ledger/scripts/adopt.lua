-- Slips that RQ has under way with a worker which does not know them, for the answer of the turn that took them was lost.
-- Uses claiming.lua.
-- ARGV: iso, worker name, lease (ms), then per slip that it knows: id, queue, execution
-- Answers per slip a list as `turn` does.

local iso, worker, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local known, found = {}, {}
redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua
for at = 4, #ARGV, 3 do known[ARGV[at] .. ':' .. ARGV[at + 2]] = true end

for _, composite in ipairs(redis.call('SMEMBERS', K.rq_worker_executions(worker))) do
  local id, execution = string.match(composite, '^(.+):(.+)$')
  local job = not known[composite] and redis.call('HMGET', K.rq_job(id), 'data', 'origin')
  if job and job[1] then
    tell(found, claimed_slip({ id, job[2], execution, job[1] }, worker, lease, iso))
  elseif job then
    redis.call('SREM', K.rq_worker_executions(worker), composite)
  end
end
return found
