-- Forget old deliveries that became no events, a page of each verdict at a time. What waits to be verified was answered 200, so it is
-- given up for its age only, and counted.
-- ARGV: cutoff (ms), page, '1' to give up also what waits to be verified.
-- Answers {most that went of one verdict, all that went, those of them that were given up}.

local cutoff, page, give_up = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local most, all = 0, 0

local function shed(verdict)
  local old = redis.call('ZRANGEBYSCORE', K.deliveries(verdict), '-inf', cutoff, 'LIMIT', 0, page)
  for _, id in ipairs(old) do
    redis.call('DEL', K.delivery(id), K.verdict(id))
    unindex(K.deliveries(verdict), id)
  end
  most, all = math.max(most, #old), all + #old
  return #old
end

for _, verdict in ipairs({ 'rejected', 'quarantined', 'duplicate' }) do shed(verdict) end
local given_up = give_up and shed('unverified') or 0
if given_up > 0 then count('unverified_given_up', given_up) end
return { most, all, given_up }
