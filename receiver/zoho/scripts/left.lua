-- A call is over: its place is free, and what it taught is known to all: place, call, credits left as Zoho says or '', milliseconds to block
-- or 0, why, '1' where Zoho did not answer or '0', failures until a block.
-- Nothing of it goes to the append-only file or to replicas, but a block: note.lua tells what else must last.
redis.set_repl(redis.REPL_NONE)
local now = now_ms()

local function block_for(place, block, why)
  if block <= 0 or redis.call('PTTL', K.calls_blocked(place)) >= block then return end
  redis.set_repl(redis.REPL_ALL)
  redis.call('SET', K.calls_blocked(place), why, 'PX', math.floor(block))
  redis.set_repl(redis.REPL_NONE)
end

local function leave(place, call, left, block, why, unanswered, most)
  redis.call('ZREM', K.calls_in_flight(place), call)
  redis.call('ZREM', K.calls_heavy(place), call)
  if redis.call('ZSCORE', K.calls_lately(place), call) then redis.call('ZADD', K.calls_lately(place), now, call) end
  if left ~= '' then redis.call('HSET', K.calls_credits(place), 'left', left, 'left_at', now) end
  block, most = tonumber(block), tonumber(most)
  if unanswered == '1' then
    local failed = redis.call('INCR', K.calls_failed(place))
    redis.call('EXPIRE', K.calls_failed(place), 600)
    -- After the first block one failure is enough for the next, twice as long, up to five minutes: calls are the probe.
    if failed >= most and block == 0 then block = math.min(300000, 15000 * 2 ^ (failed - most)) end
  elseif block == 0 then
    redis.call('DEL', K.calls_failed(place))
  end
  block_for(place, block, why)
end
