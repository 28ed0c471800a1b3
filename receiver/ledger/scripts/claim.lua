-- Take events and jobs for one run each. Uses claiming.lua.
-- ARGV: iso, lease (ms), alone ('1': isolated process), then per run: kind, id, run, token of the claim
-- Answers per run a list told flat: what `claim` answers, or {'error: ...'}.

local iso, lease, alone = ARGV[1], tonumber(ARGV[2]), ARGV[3]
redis.call('ZREM', K.due(), '') -- needs no memory: see finish.lua
local answers = {}
for at = 4, #ARGV, 4 do
  local answer = each(claim, ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], lease, alone, iso)
  tell(answers, type(answer) == 'table' and answer or { answer })
end
return answers
