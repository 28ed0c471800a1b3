-- One page of the sweep: what is due and not leased gets a slip; a lease that ran out is a death.
-- An isolated run whose end somebody saw, and that was its own, counts against it. What was ended from outside, or went down with
-- its whole host, was most likely not to blame: of that kind it takes far more until it is buried all the same.
-- ARGV: iso, limit, again (ms), deaths allowed, queue, recovered queue, most slips of a source that may wait in a queue, ends of
--   isolated runs allowed, whoever was to blame
-- Answers {members seen, slips given, deaths found}.

local iso, limit, again, deaths_allowed, default, recovered = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local most, ends_allowed = tonumber(ARGV[7]), tonumber(ARGV[8])
local slips, lost = 0, 0

-- A slip is lost when nothing as old as it is left in its queue.
local heads = {}
local function waiting(queue, given)
  if heads[queue] == nil then
    local head = redis.call('LINDEX', K.rq_queue(queue), 0)
    heads[queue] = head and tonumber(redis.call('HGET', K.rq_job(head), 'given') or 0) or false
  end
  return heads[queue] and heads[queue] <= given
end

local function set_aside(kind, id, queue, given)
  return kind == 'j' and waiting(queue .. '/' .. handler_of(id), given)
end

local function bury(kind, id, key, deaths, policy)
  local reason = 'quarantined: its process died ' .. deaths .. ' times while running it alone'
  redis.call('HSET', key, 'state', 'dead', 'reason', reason, 'ended', int(now))
  not_due(kind, id)
  if kind == 'j' then
    shift(id, 'running', 'dead')
    settle(id, 'dead', policy, iso)
  else
    redis.call('ZADD', K.events_in_state('dead'), int(now), id)
    not_to_be_routed(id, source_of(kind, id))
  end
  count('dead')
end

local function died(kind, id, key, found)
  local run, worker, alone = found[2], found[3] or '', found[6] == '1'
  local blamed = alone and found[13] == '1'
  local deaths = tonumber(found[5] or 0) + (blamed and 1 or 0)
  local spared = tonumber(found[14] or 0) + (alone and not blamed and 1 or 0)
  if kind == 'j' then
    local reason = 'its worker died or was cut off'
    if alone then reason = found[10] and 'its isolated process died' or 'its isolated process and its worker died or were cut off' end
    if found[10] then reason = reason .. ': ' .. found[10] end
    note_attempt(id, cjson.encode({ run = tonumber(run), outcome = 'lost', worker = string.match(worker, '^[^#]*'),
      started = tonumber(found[11]), ended = now, reason = reason }))
  end
  redis.call('HSET', key, 'deaths', deaths, 'suspect', 1)
  if spared > 0 then redis.call('HSET', key, 'spared', spared) end
  redis.call('HDEL', key, 'worker', 'since', 'alone', 'how', 'blamed')
  lost = lost + 1
  count('lost')
  if deaths >= deaths_allowed or (alone and deaths + spared >= ends_allowed) then
    return bury(kind, id, key, deaths + spared, found[9])
  end
  redis.call('HSET', key, 'state', 'due', 'due', int(now))
  if kind == 'j' then
    shift(id, 'running', 'due')
    settle(id, 'died', found[9], iso)
  end
  give(kind, id, int(tonumber(run) + 1), recovered, iso)
  slips = slips + 1
  due_at(kind, id, now + again)
end

redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua
local page = redis.call('ZRANGEBYSCORE', K.due(), '-inf', int(now), 'LIMIT', 0, limit)
for _, entry in ipairs(page) do
  local kind, id = string.match(entry, '^(.):(.+)$')
  local key = key_of(kind, id)
  local found = redis.call('HMGET', key, 'state', 'run', 'worker', 'given', 'deaths', 'alone', 'queue', 'lane', 'policy', 'how', 'since', 'source', 'blamed', 'spared')
  if found[1] == 'running' then
    died(kind, id, key, found)
  elseif found[1] == 'due' then
    local queue = (found[8] and found[8] ~= '') and found[8] or found[7] or default
    local given = tonumber(found[4] or 0)
    if given ~= 0 and (waiting(queue, given) or waiting(recovered, given) or set_aside(kind, id, queue, given)) then
      due_at(kind, id, now + again)
    elseif give_if_room(kind, id, int(tonumber(found[2]) + 1), queue, iso, found[12] or source_of(kind, id), most, again) then
      slips = slips + 1
    end
  else
    not_due(kind, id)
  end
end
return { #page, slips, lost }
