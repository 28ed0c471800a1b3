-- The minute's safety net under orders and limits: whoever is first but waits for nobody gets its slip. ARGV: iso, most
-- Answers how many were woken.

local iso, most = ARGV[1], tonumber(ARGV[2])
local woken = 0
redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua

local function stranded(job)
  return redis.call('HGET', K.job(job), 'state') == 'due' and not redis.call('ZSCORE', K.due(), member('j', job))
end

for _, key in ipairs(redis.call('SRANDMEMBER', K.orders(), most)) do
  local head = redis.call('ZRANGE', K.order(key), 0, 0)[1]
  if not head then
    redis.call('SREM', K.orders(), key)
  elseif stranded(head) then
    wake_job(head, iso)
    woken = woken + 1
  elseif redis.call('EXISTS', K.job(head)) == 0 then
    redis.call('ZREM', K.order(key), head)
  end
end
for _, key in ipairs(redis.call('SRANDMEMBER', K.limits(), most)) do
  redis.call('ZREMRANGEBYSCORE', K.limit(key), '-inf', int(now))
  if redis.call('ZCARD', K.limit(key)) == 0 then
    local head = redis.call('ZPOPMIN', K.limit_queue(key))[1]
    if not head then
      redis.call('SREM', K.limits(), key)
    elseif stranded(head) then
      wake_job(head, iso)
      woken = woken + 1
    end
  end
end
return woken
