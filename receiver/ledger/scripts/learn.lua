-- Keep a secret that a product told us, if an operator has armed the source: that is used up by it.
-- ARGV: source, the sealed secret, how many are kept.  Answer: 1, or 0 where the source is not armed.

local source, sealed, kept = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('DEL', K.armed(source)) == 0 then return 0 end
redis.call('LPUSH', K.source_secret(source), sealed)
redis.call('LTRIM', K.source_secret(source), 0, kept - 1)
return 1
