-- Take along what waits in the batch of a job that was just claimed: each becomes a run of its own, under the same claim.
-- A suspect is left where it is, for it runs alone. What was taken along leaves the queue of a limit, where the lead has its place.
-- What a newer event of its key has overtaken is superseded.
-- ARGV: job that leads, worker (the token of its claim), lease (ms), how many at most, bytes of data at most, iso
-- Uses claiming.lua. Answers per job a list told flat: id, run, tries, deaths, generation, lane, made, now, and what `told`
--   says.

local lead, worker, lease, most, room, iso = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local found = redis.call('HMGET', K.job(lead), 'state', 'worker', 'policy', 'lane')
if found[1] ~= 'running' or found[2] ~= worker then return {} end
local policy = cjson.decode(found[3])
local leads = K.batch_leads(policy.batch, found[4] or '')
if tonumber(redis.call('GET', leads) or 0) > 0 then redis.call('DECR', leads) end
local waiting = K.batch(policy.batch, found[4] or '')
redis.call('ZREM', waiting, lead)
local answers, taken = {}, 0

local function take(job)
  local key = K.job(job)
  local it = redis.call('HMGET', key, 'state', 'suspect', 'run', 'tries', 'deaths', 'generation', 'lane', 'made', 'policy')
  local said = told(string.match(job, '^([^:]+):'))
  if it[1] ~= 'due' or it[2] == '1' or not said then return end
  local own = cjson.decode(it[9])
  if own.latest and (it[7] or '') == '' then
    local last, newer = newest(own)
    if last and last > tonumber(said[1]) then return supersede(job, iso, newer) end
  end
  local run = int(tonumber(it[3]) + 1)
  redis.call('HSET', key, 'state', 'running', 'run', run, 'worker', worker, 'since', instant)
  redis.call('HDEL', key, 'slot')
  due_at('j', job, now + lease)
  if policy.limit then redis.call('ZREM', K.limit_queue(policy.limit), job) end
  shift(job, 'due', 'running')
  room = room - #said[5]
  tell(answers, { job, run, it[4] or '0', it[5] or '0', it[6] or '0', it[7] or '', it[8] or '0', instant, unpack(said) })
  taken = taken + 1
end

while taken < most and room > 0 do
  local job = redis.call('ZRANGEBYSCORE', waiting, '-inf', int(now), 'LIMIT', 0, 1)[1]
  if not job then break end
  redis.call('ZREM', waiting, job)
  take(job)
end
return answers
