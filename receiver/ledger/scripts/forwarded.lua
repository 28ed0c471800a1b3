-- What became of relaying one delivery. ARGV: source, id, outcome (done, again, failed or off), when again (ms), what is known of it
-- (JSON), its meta without the proof, or '' to leave it.

local source, id, outcome, due, known, meta = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local key = K.delivery(id)
if outcome == 'again' then
  if redis.call('ZSCORE', K.forwards(source), id) then redis.call('ZADD', K.forwards(source), due, id) end
else
  redis.call('ZREM', K.forwards(source), id)
end
if redis.call('EXISTS', key) == 1 then
  redis.call('HSET', key, 'forward', known)
  if meta ~= '' then redis.call('HSET', key, 'meta', meta) end
  if outcome == 'failed' then
    redis.call('ZADD', K.forwards_failed(source), instant, id)
    redis.call('ZREMRANGEBYRANK', K.forwards_failed(source), 0, -5001)
  end
end
local word = ({ done = 'forwards_done', again = 'forwards_retried', failed = 'forwards_failed', off = 'forwards_off' })[outcome]
count(word)
count(word .. ':' .. source)
flush_counts()
