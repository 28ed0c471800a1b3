-- (connection, fence, generation seen, history entry, refreshes, age, life, cooldown, pause, field, value, ...)
-- -> stored, now, the row. What was learnt is stored only if the row is still of that generation; the lock is given back.
local connection, fence = ARGV[1], ARGV[2]
local key, now = K.token(connection), now_ms()
local log = K.token_history(connection)
redis.call('LPUSH', log, ARGV[4])
redis.call('LTRIM', log, 0, 199)
if ARGV[5] == '1' then redis.call('HINCRBY', K.counts(), 'token_refreshes', 1) end
local stored = 0
if field(key, 'generation') == tonumber(ARGV[3]) and redis.call('HEXISTS', key, 'state') == 1 then
  stored = 1
  for i = 10, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
  redis.call('HSET', key, 'outcome_at', now)
  if tonumber(ARGV[7]) > 0 then
    redis.call('HSET', key, 'generation', field(key, 'generation') + 1,
      'expires', now - tonumber(ARGV[6]) + tonumber(ARGV[7]) * 1000, 'failures', 0, 'pause', 0, 'cooldown', 0)
    redis.call('HDEL', key, 'stale')
  end
  if tonumber(ARGV[8]) > 0 then redis.call('HSET', key, 'cooldown', now + tonumber(ARGV[8])) end
  if tonumber(ARGV[9]) > 0 then
    local failures = redis.call('HINCRBY', key, 'failures', 1)
    redis.call('HSET', key, 'pause', now + math.min(tonumber(ARGV[9]) * 2 ^ math.min(failures - 1, 6), 600000))
  end
end
if redis.call('GET', K.token_lock(connection)) == fence then redis.call('DEL', K.token_lock(connection)) end
return {stored, now, redis.call('HGETALL', key)}
