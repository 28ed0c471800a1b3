-- (connection, history entry, age, life, field, value, ...): a new consent; all that was known of the old one goes
local key, now = K.token(ARGV[1]), now_ms()
local generation = field(key, 'generation') + 1
redis.call('DEL', key)
for i = 5, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', key, 'generation', generation, 'state', 'ok', 'expires', now - tonumber(ARGV[3]) + tonumber(ARGV[4]) * 1000,
  'outcome', 'ok', 'outcome_at', now, 'consented', now)
redis.call('DEL', K.token_lock(ARGV[1]))
redis.call('LPUSH', K.token_history(ARGV[1]), ARGV[2])
redis.call('LTRIM', K.token_history(ARGV[1]), 0, 199)
return generation
