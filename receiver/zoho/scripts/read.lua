-- (connection) -> now, the row
return {now_ms(), redis.call('HGETALL', K.token(ARGV[1]))}
