-- Hold the ledger against what a host remembers of it: whether it is the same one, and whether it still knows all that it said.
-- ARGV: epoch remembered ('' for none), highest sequence told, a fresh epoch for a ledger that has none, the host
-- Answers {epoch, sequence, what broke ('', 'emptied', 'other' or 'behind'), events missing}.
-- The sequence is put where the host remembers it, so that no number is given twice and no loss is counted twice.

local known, told, fresh, host = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local epoch = redis.call('GET', K.epoch())
local seq = tonumber(redis.call('GET', K.sequence()) or 0)
local broke, missing = '', 0
if known ~= '' and not epoch then
  broke = 'emptied'
elseif known ~= '' and epoch ~= known then
  broke = 'other'
elseif epoch and seq < told then
  broke, missing = 'behind', told - seq
end
if not epoch then
  epoch = fresh
  redis.call('SET', K.epoch(), epoch)
end
if seq < told then redis.call('SET', K.sequence(), int(told)) end
if broke ~= '' then
  -- Each break is written once, whichever of the hosts comes first.
  local name = broke == 'behind' and 'behind ' .. int(seq) .. ' ' .. int(told) or 'from ' .. known .. ' to ' .. epoch
  local about = cjson.encode({ kind = broke, at = now, missing = missing, host = host })
  if redis.call('HLEN', K.breaks()) < 1000 and redis.call('HSETNX', K.breaks(), name, about) == 1 and missing > 0 then
    count('missing', missing)
    flush_counts()
  end
end
return { epoch, int(math.max(seq, told)), broke, int(missing) }
