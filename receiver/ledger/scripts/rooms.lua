-- The room that handlers have in a worker: how many more threads each may take there, of those whose runs take long. The others are
-- not named and take what there is.

local rooms = {}

-- As JSON, handler -> threads; '' for no such handler. It is one worker's, so whoever reads it first reads it for all.
local function read_rooms(text)
  if text ~= '' and not next(rooms) then rooms = cjson.decode(text) end
end

local function room_of(job)
  if not next(rooms) then return math.huge end
  return rooms[handler_of(job)] or math.huge
end

local function take_room(job)
  if not next(rooms) then return end
  local handler = handler_of(job)
  if rooms[handler] then rooms[handler] = rooms[handler] - 1 end
end
