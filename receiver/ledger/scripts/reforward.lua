-- Relay again what was given up, oldest first. ARGV: source, how many. Answers how many there were.

local source = ARGV[1]
local ids = redis.call('ZRANGE', K.forwards_failed(source), 0, tonumber(ARGV[2]) - 1)
local count_of_them = 0
for _, id in ipairs(ids) do
  redis.call('ZREM', K.forwards_failed(source), id)
  if redis.call('EXISTS', K.delivery(id)) == 1 then
    redis.call('HDEL', K.verdict(id), 'forward')
    redis.call('ZADD', K.forwards(source), instant, id)
    count_of_them = count_of_them + 1
  end
end
return count_of_them
