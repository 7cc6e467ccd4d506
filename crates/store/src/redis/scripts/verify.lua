-- KEYS[1] record  ARGV: 1 presence, 2 idle ms
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 19 then return -1 end
if string.sub(head, 3, 18) ~= ARGV[1] then return 0 end
-- Most calls write nothing.
if redis.call('PTTL', KEYS[1]) < ARGV[2] * 0.75 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return head
