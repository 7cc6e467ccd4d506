-- KEYS[1] record  ARGV: 1 presence, 2 idle ms, 3 idle ms of a newcomer
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 20 then return -1 end
local owner = string.sub(head, 4, 19)
if owner ~= ARGV[1] then return owner == string.rep('\0', 16) and 0 or 1 end
-- Most calls write nothing.
local idle = string.byte(head, 3) == 0 and ARGV[3] or ARGV[2]
if redis.call('PTTL', KEYS[1]) < idle * 0.75 then redis.call('PEXPIRE', KEYS[1], idle) end
return head
