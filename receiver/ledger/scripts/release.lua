-- End what a reason holds: its members are due again. ARGV: reason, limit. Answers how many were released.

local reason, limit = ARGV[1], tonumber(ARGV[2])
local members = redis.call('SPOP', K.parked(reason), limit)
for _, held in ipairs(members) do
  local kind, id = string.match(held, '^(.):(.+)$')
  local key = key_of(kind, id)
  if redis.call('HGET', key, 'state') == 'held' then
    redis.call('HSET', key, 'state', 'due', 'due', int(now), 'given', 0)
    redis.call('HDEL', key, 'reason')
    if kind == 'j' then
      -- The time on hold is none in which it was tried.
      local since = redis.call('ZSCORE', K.jobs_in_state('held'), id)
      if since then redis.call('HINCRBY', key, 'made', int(now - tonumber(since))) end
      shift(id, 'held', 'due')
      local policy = redis.call('HGET', key, 'policy')
      policy = policy and cjson.decode(policy)
      if policy and policy.batch then offer(id, policy, now) end
    else
      local event = redis.call('HMGET', key, 'seq', 'source')
      to_be_routed(id, event[1], event[2] or '')
    end
    due_at(kind, id, now)
  end
end
if redis.call('SCARD', K.parked(reason)) == 0 then redis.call('SREM', K.parked_reasons(), reason) end
return #members
