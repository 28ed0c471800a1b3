-- The minute's safety net under orders and limits: whoever is first but waits for nobody gets its slip. ARGV: iso, most
-- Answers how many were woken.

local iso, most = ARGV[1], tonumber(ARGV[2])
local woken = 0
redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua

local function stranded(job)
  return redis.call('HGET', K.job(job), 'state') == 'due' and not redis.call('ZSCORE', K.due(), member('j', job))
end

for _, key in ipairs(redis.call('SRANDMEMBER', K.orders(), most)) do
  local head, busy = redis.call('ZRANGE', K.order(key), 0, 0)[1], redis.call('GET', K.order_busy(key))
  if busy and redis.call('HGET', K.job(busy), 'state') ~= 'running' then
    redis.call('DEL', K.order_busy(key))
    busy = false
  end
  if head and redis.call('EXISTS', K.job(head)) == 0 then redis.call('ZREM', K.order(key), head) end
  if not busy and (not head or stranded(head)) then
    wake_in_order(key, '', iso)
    woken = woken + 1
  end
end
for _, key in ipairs(redis.call('SRANDMEMBER', K.limits(), most)) do
  free_places(key)
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
