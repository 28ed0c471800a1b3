-- Run a finished job again, or route an event again. Never an open one.
-- ARGV: iso, kind, id, mode (retry: same keys; rerun: new ones), lane, again (ms), the replay that it is part of or '',
--   the state for which it was chosen or ''
-- Answers 'ok', 'open', 'gone', or 'cancelled' where somebody cancelled that replay.

local iso, kind, id, mode, lane, again = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local key = key_of(kind, id)
local found = redis.call('HMGET', key, 'state', 'run', 'tries', 'since', 'ended', 'worker')
local state = found[1]
if not state then return 'gone' end
if OPEN[state] then return 'open' end
-- What was chosen for its state and has run since is not what was chosen any more.
if ARGV[8] ~= '' and state ~= ARGV[8] then return 'gone' end
if ARGV[7] ~= '' and redis.call('HGET', K.replay(ARGV[7]), 'state') == 'cancelled' then return 'cancelled' end
-- What the job's own fields told of its last attempt is kept apart now: see rows.py.
if kind == 'j' and state == 'done' then
  local last = redis.call('LINDEX', K.attempts(id), -1)
  if not last or cjson.decode(last).run ~= tonumber(found[2]) then
    note_attempt(id, cjson.encode({ run = tonumber(found[2]), tries = tonumber(found[3] or 0), started = tonumber(found[4]),
      ended = tonumber(found[5]), outcome = 'done', worker = string.match(found[6] or '', '^[^#]*') }))
  end
end
redis.call('HSET', key, 'state', 'due', 'due', int(now), 'tries', 0, 'deaths', 0, 'lane', lane, 'made', int(now))
redis.call('HDEL', key, 'reason', 'ended', 'suspect', 'spared', 'replay')
if ARGV[7] ~= '' then redis.call('HSET', key, 'replay', ARGV[7]) end
if mode == 'rerun' then redis.call('HINCRBY', key, 'generation', 1) end
if kind == 'j' then
  shift(id, state, 'due')
  local policy = redis.call('HGET', key, 'policy')
  policy = policy and cjson.decode(policy)
  if policy and policy.batch then offer(id, policy, now) end
else
  redis.call('ZREM', K.events_in_state(state), id)
end
give(kind, id, int(tonumber(found[2]) + 1), lane, iso)
due_at(kind, id, now + again)
count('replayed')
return 'ok'
