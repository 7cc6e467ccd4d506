-- KEYS[1] record  ARGV: 1 presence, 2 channel, last: deadline
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 19 then return -1 end
if string.sub(head, 3, 18) ~= ARGV[1] then return 0 end
local gone = {}
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if #field ~= 16 and field ~= 'm' then
    local key = messages_key .. field
    if redis.call('EXISTS', KEYS[1], key) == 1 then
      gone[#gone + 1] = field
    else
      local message = redis.call('GETRANGE', key, 0, 16)
      if string.byte(message, 1) ~= 1 then return -1 end
      if string.sub(message, 2) == ARGV[2] then gone[#gone + 1] = field end
    end
  end
end
forget(gone)
redis.call('HDEL', KEYS[1], ARGV[2])
return 1
