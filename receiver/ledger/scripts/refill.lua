-- Give slips to what waits for room, and put right how many slips of each source there are: RQ's lists are the truth about that, and
-- others may have been at them. A queue of what was set aside is forgotten when it is empty.
-- ARGV: iso, most slips of a source that may wait in a queue, how many to look at, again (ms), the beginning of our queues' names
-- Answers how many were looked at.

local iso, most, page, again, ours = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local COUNTED = 20000

local function counted_anew(queue, size)
  local sources = {}
  for first = 0, math.min(size, COUNTED) - 1, 500 do
    for _, id in ipairs(redis.call('LRANGE', K.rq_queue(queue), first, math.min(first + 499, COUNTED - 1))) do
      local source = redis.call('HGET', K.rq_job(id), 'source') or ''
      sources[source] = (sources[source] or 0) + 1
    end
  end
  if size > COUNTED then sources[''] = (sources[''] or 0) + size - COUNTED end
  redis.call('DEL', K.slips(queue))
  for source, number in pairs(sources) do redis.call('HSET', K.slips(queue), source, number) end
end

local function put_right(queue)
  local size, sum, odd = redis.call('LLEN', K.rq_queue(queue)), 0, false
  local kept = redis.call('HGETALL', K.slips(queue))
  for at = 2, #kept, 2 do
    sum = sum + tonumber(kept[at])
    odd = odd or tonumber(kept[at]) < 0
  end
  if odd or sum ~= size then counted_anew(queue, size) end
  if size == 0 and redis.call('SREM', K.asides(), queue) == 1 then
    redis.call('SREM', K.rq_queues(), K.rq_queue(queue))
    redis.call('DEL', K.slips(queue))
  end
end

redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua
local places, queues = redis.call('SMEMBERS', K.waits()), {}
for _, place in ipairs(places) do queues[string.match(place, '^%S* (.+)$')] = true end
for _, aside in ipairs(redis.call('SMEMBERS', K.asides())) do queues[aside] = true end
for _, key in ipairs(redis.call('SMEMBERS', K.rq_queues())) do
  local queue = string.sub(key, #K.rq_queue('') + 1)
  if string.sub(queue, 1, #ours) == ours then queues[queue] = true end
end
for queue in pairs(queues) do put_right(queue) end
local looked = 0
for _, place in ipairs(places) do
  local source, queue = string.match(place, '^(%S*) (.+)$')
  looked = looked + refill(queue, source, most, page, again, iso)
end
return looked
