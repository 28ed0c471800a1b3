-- (connection, fence, lease, budget, window) -> 1 where the holder may make another call, else 0
if redis.call('GET', K.token_lock(ARGV[1])) ~= ARGV[2] then return 0 end
if spend(ARGV[1], now_ms(), ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])) > 0 then return 0 end
redis.call('PEXPIRE', K.token_lock(ARGV[1]), tonumber(ARGV[3]))
return 1
