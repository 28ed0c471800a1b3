-- What became of relaying one delivery. ARGV: source, id, outcome (done, again, failed or off), when again (ms), what is known of it
-- (JSON), and '1' where its proof is needed no more.

local source, id, outcome, due, known, over = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '1'
if outcome == 'again' then
  if redis.call('ZSCORE', K.forwards(source), id) then redis.call('ZADD', K.forwards(source), due, id) end
else
  redis.call('ZREM', K.forwards(source), id)
end
if redis.call('EXISTS', K.delivery(id)) == 1 then
  redis.call('HSET', K.verdict(id), 'forward', known)
  if over then redis.call('HDEL', K.verdict(id), 'sealed') end
  if outcome == 'failed' then
    redis.call('ZADD', K.forwards_failed(source), instant, id)
    redis.call('ZREMRANGEBYRANK', K.forwards_failed(source), 0, -5001)
  end
end
local word = ({ done = 'forwards_done', again = 'forwards_retried', failed = 'forwards_failed', off = 'forwards_off' })[outcome]
count(word)
count(word .. ':' .. source)
flush_counts()
