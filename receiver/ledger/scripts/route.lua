-- Finish routing events: open a job for each handler that wants them. Running it again opens nothing twice.
-- ARGV: iso, lease (ms), again (ms), claim first ('1'), the queues whose jobs are left to others (a line each), most slips of a source that may wait in a queue, the room that handlers have
--   here (JSON, see rooms.lua), and as JSON a list per event: id, run, token of its claim, and a list per handler: id, state (due, dead, skipped, or filtered, which is counted), reason, attempt (JSON, for dead), queue, policy (JSON or '')
-- Uses rooms.lua. Answers per event the job claimed, or '' where there is none, 'fenced', or 'error: ...'.

local iso, lease, again, claim_first, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1', tonumber(ARGV[6])
local LATEST_KEPT = 604800000 -- ms
local left = {}
for queue in string.gmatch(ARGV[5], '[^\n]+') do left[queue] = true end
read_rooms(ARGV[7])

-- Older jobs of the key that have not begun are superseded. The newer event that was opened already, where there is one: then this
-- one is.
local function make_latest(job, policy, event)
  local last, newer = newest(policy)
  if last and last > tonumber(event.seq) then return newer end
  for _, older in ipairs(redis.call('ZRANGE', K.latest(policy.latest), 0, -1)) do
    local state = redis.call('HGET', K.job(older), 'state')
    if state == 'due' or state == 'held' then
      event.slot = redis.call('HGET', K.job(older), 'slot') or event.slot -- its place under a rate goes on to the newer one
      supersede(older, iso, event.id)
    end
  end
  redis.call('ZADD', K.latest(policy.latest), event.seq, job)
  redis.call('SET', K.latest_opened(policy.latest), event.seq .. ' ' .. event.id, 'PX', LATEST_KEPT)
end

local function debounced(policy)
  local since = redis.call('GET', K.latest_since(policy.latest))
  if not since then
    since = instant
    redis.call('SET', K.latest_since(policy.latest), since, 'PX', int(policy.longest + policy.debounce + 60000))
  end
  return math.max(now, math.min(now + policy.debounce, tonumber(since) + policy.longest))
end

-- A batch waits for company until it is full, or until its oldest has waited for as long as it may.
local function gathered(job, policy)
  local full = redis.call('ZCOUNT', offer(job, policy, now), '-inf', int(now)) % policy.size == 0
  return full and now or now + policy.gather
end

local function start(event, job, queue)
  event.claimed = job
  redis.call('HSET', K.job(job), 'state', 'running', 'run', '1', 'worker', event.token, 'since', instant, 'made', instant)
  if queue ~= 'zohook' then redis.call('HSET', K.job(job), 'queue', queue) end
  due_at('j', job, now + lease)
end

local function open(event, job, queue, text)
  local first = claim_first and not event.claimed and not left[queue] and room_of(job) > 0
  if text == '' and first then -- nothing holds it back: it runs without ever having been due
    take_room(job)
    shift(job, '', 'running')
    return start(event, job, queue)
  end
  local record, due, policy = K.job(job), now, nil
  redis.call('HSET', record, 'state', 'due', 'run', 0, 'tries', 0, 'made', instant, 'queue', queue)
  if text ~= '' then
    policy = cjson.decode(text)
    redis.call('HSET', record, 'policy', text)
    if policy.isolated then redis.call('HSET', record, 'isolated', '1') end
    if policy.order then
      redis.call('ZADD', K.order(policy.order), event.seq, job)
      redis.call('SADD', K.orders(), policy.order)
    end
  end
  shift(job, '', 'due')
  event.slot = nil -- an earlier handler's is not this one's
  if policy and policy.latest then
    local newer = make_latest(job, policy, event)
    if newer then return supersede(job, iso, newer) end
    if policy.debounce then due = debounced(policy) end
    if event.slot then redis.call('HSET', record, 'slot', event.slot) end
  end
  if policy and policy.batch then due = gathered(job, policy) end
  redis.call('HSET', record, 'due', int(due))
  if due > now then return due_at('j', job, due) end
  if first and not (policy and policy.isolated) then
    if policy and may_start(job, text, event.seq, event.slot, lease, nil, iso) then return end
    take_room(job)
    shift(job, 'due', 'running')
    return start(event, job, queue)
  end
  if policy and policy.order and redis.call('ZRANGE', K.order(policy.order), 0, 0)[1] ~= job then return end
  give_if_room('j', job, 1, queue, iso, event.source, most, again)
end

-- A job that never runs: its filter raised, or it is an echo.
local function open_ended(job, state, reason, attempt)
  redis.call('HSET', K.job(job), 'state', state, 'run', 0, 'tries', 0, 'due', instant, 'made', instant, 'ended', instant,
    'reason', reason)
  if attempt ~= '' then note_attempt(job, attempt) end
  shift(job, '', state)
  count(state)
end

-- Where the event is routed by this very claim already, its answer was lost: the job that it took is told again.
local function told_before(event)
  for _, each in ipairs(event.openings) do
    local job = event.id .. ':' .. each[1]
    local found = redis.call('HMGET', K.job(job), 'state', 'run', 'worker')
    if found[1] == 'running' and found[2] == '1' and found[3] == event.token then return job end
  end
  return 'fenced'
end

local function route(event)
  if not event.own then return told_before(event) end
  local key, state, fields = K.event(event.id), 'routed', {}
  for _, opening in ipairs(event.openings) do
    local handler, state, reason, attempt, queue, policy = unpack(opening)
    local job, field = event.id .. ':' .. handler, '@' .. handler
    if state == 'filtered' then
      count(state)
      count(state .. ':' .. handler)
    else
      fields[#fields + 1], fields[#fields + 2] = field, ''
      -- At its first run an event has no jobs yet.
      if event.run == '1' or redis.call('HEXISTS', key, field) == 0 then
        if state == 'due' then open(event, job, queue, policy) else open_ended(job, state, reason, attempt) end
      end
    end
  end
  if #fields == 0 and #handlers_of(event.id) == 0 then state = 'unmatched' end
  redis.call('HSET', key, 'state', state, unpack(fields))
  redis.call('HDEL', key, 'worker', 'since', 'alone', 'given', 'due')
  not_due('e', event.id)
  if state == 'unmatched' then
    index(K.events_in_state('unmatched'), instant, event.id)
  elseif event.run ~= '1' then
    unindex(K.events_in_state('unmatched'), event.id)
  end
  count(state)
  return event.claimed or ''
end

local events, routed, by_source, answers = {}, {}, {}, {}
local last, in_order = 0, true
for place, told in ipairs(cjson.decode(ARGV[8])) do
  local event = { place = place, id = told[1], run = told[2], token = told[3], openings = told[4] }
  local found = redis.call('HMGET', K.event(event.id), 'state', 'run', 'worker', 'seq', 'source')
  event.own = found[1] == 'running' and found[2] == event.run and found[3] == event.token
  event.seq, event.source, event.at = found[4], found[5] or '', tonumber(found[4]) or 0
  events[place] = event
  in_order, last = in_order and event.at >= last, event.at
  if event.own then
    routed[#routed + 1] = event.id
    by_source[event.source] = by_source[event.source] or {}
    table.insert(by_source[event.source], event.id)
  end
end
-- In the order in which they were accepted, for an order asks whether an earlier event is still unrouted: of these none is.
if not in_order then table.sort(events, function(one, other) return one.at < other.at end) end
in_pages('ZREM', K.unrouted(), routed)
for source, ids in pairs(by_source) do in_pages('ZREM', K.unrouted_of(source), ids) end
for _, event in ipairs(events) do
  local answer = each(route, event)
  answers[event.place] = answer
  if event.own and string.sub(answer, 1, 6) == 'error:' then to_be_routed(event.id, event.seq, event.source) end
end
return answers
