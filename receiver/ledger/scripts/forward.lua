-- Take deliveries of a source that are due to be relayed, each under a lease: who dies with one lets it come again.
-- ARGV: source, how many, lease (ms). Answers per delivery: id, the delivery as it is kept, its sealed secrets, what is known of its
-- relaying (JSON or '').

local source, most, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.forwards(source), '-inf', int(now), 'LIMIT', 0, most)) do
  local kept = redis.call('GET', K.delivery(id))
  if kept then
    local found = redis.call('HMGET', K.verdict(id), 'sealed', 'forward')
    redis.call('ZADD', K.forwards(source), int(now + lease), id)
    for _, each in ipairs({ id, kept, found[1] or '', found[2] or '' }) do taken[#taken + 1] = each end
  else
    redis.call('ZREM', K.forwards(source), id)
    count('forwards_lost')
    count('forwards_lost:' .. source)
  end
end
flush_counts()
return taken
