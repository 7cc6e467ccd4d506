-- KEYS[1] record  ARGV: 1 presence, 2 channel, 3 start of a channel, 4 key, 5 most channels, 6 idle ms, 7 the same of a
-- newcomer, last: deadline
local found = redis.call('HMGET', KEYS[1], 'm', ARGV[2])
local head, value = found[1], found[2]
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 20 then return -1 end
if string.sub(head, 4, 19) ~= ARGV[1] then return 0 end
local sequence = string.sub(head, 20)
-- Behind the key: SimplePush has the pending version, Web Push the last write before the channel was registered.
local is_first = false
local key, rest = ARGV[4], string.byte(head, 2) == 2 and sequence or ''
if value then
  local len = prefix(value)
  if not len then return -1 end
  key, rest = string.sub(value, len, len), string.sub(value, len + 1)
else
  local fields = redis.call('HLEN', KEYS[1])
  if fields > tonumber(ARGV[5]) then return 1 end
  is_first = fields == 1
end
local registered = ARGV[3] .. key .. rest
if registered ~= value then redis.call('HSET', KEYS[1], ARGV[2], registered) end
if is_first then redis.call('PEXPIRE', KEYS[1], string.byte(head, 3) == 0 and ARGV[7] or ARGV[6]) end
return key .. sequence
