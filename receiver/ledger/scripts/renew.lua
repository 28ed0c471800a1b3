-- Renew leases. ARGV: lease (ms), then per run: member (`j:ID`, `e:ID`), run, token of its claim.
-- An expired lease whose run is still its own is renewed too. Answers 1 or 0 per run: 0 means the run is lost.

local lease = tonumber(ARGV[1])
local answers = {}
redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua
for index = 2, #ARGV, 3 do
  local kind, id = string.match(ARGV[index], '^(.):(.+)$')
  local found = redis.call('HMGET', key_of(kind, id), 'state', 'run', 'worker', 'policy')
  local own = found[1] == 'running' and found[2] == ARGV[index + 1] and found[3] == ARGV[index + 2]
  if own then redis.call('ZADD', K.due(), int(now + lease), ARGV[index]) end
  if own and found[4] then
    local policy = cjson.decode(found[4])
    if policy.limit then redis.call('ZADD', K.limit(policy.limit), 'XX', int(now + lease), id) end
  end
  answers[#answers + 1] = own and 1 or 0
end
return answers
