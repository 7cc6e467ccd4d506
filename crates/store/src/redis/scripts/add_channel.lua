-- KEYS[1] record  ARGV: 1 presence, 2 channel, 3 start of a channel, 4 key, 5 most channels, last: deadline
local found = redis.call('HMGET', KEYS[1], 'm', ARGV[2])
local head, value = found[1], found[2]
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 19 then return -1 end
if string.sub(head, 3, 18) ~= ARGV[1] then return 0 end
local key, pending, max = ARGV[4], '', tonumber(ARGV[5])
if value then
  local len = prefix(value)
  if not len then return -1 end
  key, pending = string.sub(value, len, len), string.sub(value, len + 1)
elseif redis.call('HLEN', KEYS[1]) > max then
  -- The record may have that many fields because of messages: count the channels.
  local channels = 0
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if #field == 16 then channels = channels + 1 end
  end
  if channels >= max then return 1 end
end
local spelled = ARGV[3] .. key .. pending
if spelled ~= value then redis.call('HSET', KEYS[1], ARGV[2], spelled) end
return key .. string.sub(head, 19)
