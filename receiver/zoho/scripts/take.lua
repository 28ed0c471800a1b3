-- (connection, fence, lease, budget, window, generation seen, client, '1' for a client that needs no consent) -> verdict, wait, now, the row
-- yours: the lock is taken and one call is spent. Otherwise why not: newer, state, cooldown, pause, busy, budget.
local connection, fence, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key, now = K.token(connection), now_ms()
local function answer(verdict, wait) return {verdict, wait, now, redis.call('HGETALL', key)} end
local state, own = redis.call('HGET', key, 'state'), ARGV[8] == '1'
if own and state ~= 'misconfigured' then state = 'ok' end
if not state or state == 'revoked' or (not own and (redis.call('HGET', key, 'refresh') or '') == '') then return answer('state', 0) end
if field(key, 'generation') > tonumber(ARGV[6]) and field(key, 'expires') > now then return answer('newer', 0) end
if state == 'misconfigured' and redis.call('HGET', key, 'client') == ARGV[7] and field(key, 'pause') > now then
  return answer('state', field(key, 'pause') - now)
end
if field(key, 'cooldown') > now then return answer('cooldown', field(key, 'cooldown') - now) end
if state == 'ok' and field(key, 'pause') > now then return answer('pause', field(key, 'pause') - now) end
local lock = K.token_lock(connection)
if redis.call('GET', lock) == fence then return answer('yours', 0) end -- our own answer got lost and we ask again
local held = redis.call('PTTL', lock)
if held ~= -2 then return answer('busy', held) end
local wait = spend(connection, now, fence, tonumber(ARGV[4]), tonumber(ARGV[5]))
if wait > 0 then return answer('budget', wait) end
redis.call('SET', lock, fence, 'PX', lease)
if own then redis.call('HSETNX', key, 'state', 'ok') end
return answer('yours', 0)
