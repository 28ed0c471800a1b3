-- Open one job for each record that had no event, in a lane that live events never wait for. Doing it again opens nothing twice.
-- ARGV: iso, lane, again (ms), the backfill that they are part of, handler, queue, event type, source, then per record
--   event id, record, the event as it is kept, policy (JSON or '')
-- Answers per record 'ok', also where this very event is there already; 'cancelled' where somebody cancelled the backfill.

local iso, lane, again, part_of = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local handler, queue, event_type, source = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local answers, slips = {}, {}

local function open(id, record, fact, text)
  if redis.call('EXISTS', K.event(id)) == 1 then return end
  local number, job = int(redis.call('INCR', K.sequence())), id .. ':' .. handler
  redis.call('HSET', K.event(id), 'seq', number, 'state', 'routed', 'run', '1', 'source', source, '@' .. handler, '')
  redis.call('SET', K.fact(id), fact)
  index(K.events(), instant, id)
  index(K.events_of_type(event_type), instant, id)
  index(K.events_of_source(source), instant, id)
  redis.call('ZADD', K.events_of_record(record), number, id)
  redis.call('HSET', K.job(job), 'state', 'due', 'run', 0, 'tries', 0, 'made', instant, 'due', instant, 'given', instant,
    'queue', queue, 'lane', lane, 'replay', part_of)
  if text ~= '' then
    local policy = cjson.decode(text)
    redis.call('HSET', K.job(job), 'policy', text)
    if policy.isolated then redis.call('HSET', K.job(job), 'isolated', '1') end
    if policy.batch then offer(job, policy, now) end
  end
  shift(job, '', 'due')
  due_at('j', job, now + again)
  slips[#slips + 1] = write_slip('j', job, 1, lane, iso, source)
  count('accepted')
  count('routed')
end

local cancelled = redis.call('HGET', K.replay(part_of), 'state') == 'cancelled'
redis.call('SADD', K.types(), event_type)
for at = 9, #ARGV, 4 do
  if not cancelled then open(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]) end
  answers[#answers + 1] = cancelled and 'cancelled' or 'ok'
end
push_slips(lane, slips)
return answers
