-- (connection, generation, what refused it): a token just made was refused as well, so it is not the token
if field(K.token(ARGV[1]), 'generation') == tonumber(ARGV[2]) then
  redis.call('HSET', K.token(ARGV[1]), 'cleared:' .. ARGV[3], ARGV[2] .. ':' .. string.format('%.0f', now_ms()))
end
return 0
