-- Shared by every script: the clock, the counters, the indexes, and what is due.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Lua prints large numbers as 1.7e+12, which is no integer to anybody else. The same few are said again and again.
local said = {}
local function int(number)
  local text = said[number]
  if not text then
    text = string.format('%.0f', number)
    said[number] = text
  end
  return text
end
local instant = int(now)

local counted = {}
local function count(field, by) counted[field] = (counted[field] or 0) + (by or 1) end

local function flush_counts()
  local minute = K.counts_in(int(math.floor(now / 60000)))
  for field, by in pairs(counted) do
    redis.call('HINCRBY', K.counts(), field, by)
    redis.call('HINCRBY', minute, field, by)
  end
  if next(counted) then redis.call('EXPIRE', minute, 172800) end
  counted = {}
end

-- Indexes are written together when the script is over: a hundred members of one cost little more than one. What a script reads
-- again it must write at once.
local indexes = {}

local function index(key, score, id)
  local changes = indexes[key]
  if not changes then
    changes = {}
    indexes[key] = changes
  end
  changes[id] = score
end

local function unindex(key, id) index(key, false, id) end

local function in_pages(command, key, members)
  for first = 1, #members, 1000 do
    redis.call(command, key, unpack(members, first, math.min(first + 999, #members)))
  end
end

local function write_index(key, changes)
  local added, gone = {}, {}
  for id, score in pairs(changes) do
    if score then
      added[#added + 1] = score
      added[#added + 1] = id
    else
      gone[#gone + 1] = id
    end
  end
  in_pages('ZREM', key, gone)
  in_pages('ZADD', key, added)
end

-- The index of all events comes last: an event is there when it is in it, so that one which a damaged index refused is not
-- taken for the same when it is tried again.
local function write_indexes()
  local all = indexes[K.events()]
  indexes[K.events()] = nil
  for key, changes in pairs(indexes) do write_index(key, changes) end
  if all then write_index(K.events(), all) end
  indexes = {}
end

-- Lists are told flat, each after its length: Redis sends every list within a list by a write of its own.
local function tell(answers, list)
  local size, at = #list, #answers + 1
  answers[at] = size
  for place = 1, size do answers[at + place] = list[place] end
end

-- Do the same for many: an error of one is its answer, so that it does not take the others with it.
local function each(act, ...)
  local fine, answer = pcall(act, ...)
  if fine then return answer end
  return 'error: ' .. (type(answer) == 'table' and answer.err or tostring(answer))
end

local function member(kind, id) return kind .. ':' .. id end
local function key_of(kind, id) if kind == 'e' then return K.event(id) end return K.job(id) end
local function due_at(kind, id, at) index(K.due(), int(at), member(kind, id)) end
local function not_due(kind, id) unindex(K.due(), member(kind, id)) end
