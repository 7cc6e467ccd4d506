-- KEYS[1] record  ARGV: 1 presence, 2 channel
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 19 then return -1 end
if string.sub(head, 3, 18) ~= ARGV[1] then return 0 end
local gone = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #field ~= 16 and field ~= 'm' then
    local message = redis.call('GETRANGE', messages_key .. field, 0, 16)
    if message ~= '' and string.byte(message, 1) ~= 1 then return -1 end
    if message == '' or string.sub(message, 2) == ARGV[2] then gone[#gone + 1] = field end
  end
end
redis.call('HDEL', KEYS[1], ARGV[2])
forget(gone)
return 1
