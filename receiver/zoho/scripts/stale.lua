-- (connection) -> 1 where there is a token to mark
if redis.call('HEXISTS', K.token(ARGV[1]), 'access') == 0 then return 0 end
redis.call('HSET', K.token(ARGV[1]), 'stale', '1')
return 1
