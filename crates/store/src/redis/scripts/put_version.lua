-- KEYS[1] record  ARGV: 1 channel, 2 version
-- The version stays text: a Lua number does not hold every one up to 2^63-1. The sequence is far below 2^53.
local found = redis.call('HMGET', KEYS[1], 'm', ARGV[1])
local head, value = found[1], found[2]
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 19 then return -1 end
if not value then return 0 end
local form = string.byte(value, 1)
local last = form == 0 and 2 or form == 1 and 2 or form == 2 and 6 or form == 3 and 6 or 0
local sequence = tonumber(string.sub(head, 19))
if last == 0 or #value < last or not sequence then return -1 end
local presence = string.sub(head, 3, 18)
local following = string.format('%.0f', sequence + 1)
redis.call('HSET', KEYS[1], 'm', string.sub(head, 1, 18) .. following, ARGV[1], string.sub(value, 1, last) .. ARGV[2])
return presence .. following
