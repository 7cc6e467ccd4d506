-- KEYS[1] record  ARGV: 1 presence, 2 idle ms, 3 the same of a newcomer, 4 without channels
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 20 then return -1 end
local owner = string.sub(head, 4, 19)
if owner ~= ARGV[1] then return owner == string.rep('\0', 16) and 0 or 1 end
-- Most calls write nothing.
local fields = redis.call('HLEN', KEYS[1])
local idle = lifetime(head, fields, ARGV[2], ARGV[3], ARGV[4])
local left = redis.call('PTTL', KEYS[1])
if left < idle * 0.75 or left > idle then redis.call('PEXPIRE', KEYS[1], idle) end
return { head, fields - 1 }
