-- KEYS[1] record  ARGV: 1 presence, 2 channel, 3 spelling, 4 key, 5 channels at most
local found = redis.call('HMGET', KEYS[1], 'm', ARGV[2])
local head, value = found[1], found[2]
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 19 then return -1 end
if string.sub(head, 3, 18) ~= ARGV[1] then return 0 end
local key, pending = ARGV[4], ''
if value then
  local form = string.byte(value, 1)
  local start = form == 0 and 3 or form == 1 and 3 or form == 2 and 7 or form == 3 and 7 or 0
  if start == 0 or #value < start - 1 then return -1 end
  key, pending = string.sub(value, start - 1, start - 1), string.sub(value, start)
elseif redis.call('HLEN', KEYS[1]) > tonumber(ARGV[5]) then
  return 1
end
local spelled = ARGV[3] .. key .. pending
if spelled ~= value then redis.call('HSET', KEYS[1], ARGV[2], spelled) end
return key .. string.sub(head, 19)
