-- KEYS[1] record  ARGV: 1 presence, 2 channel
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 19 then return -1 end
if string.sub(head, 3, 18) ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], ARGV[2])
return 1
