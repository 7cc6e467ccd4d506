-- KEYS[1] record  ARGV: 1 channel, 2 restriction or ''
local function gone(answer)
  -- A replica refuses the write, which changes nothing: only a primary says that something is not stored.
  redis.call('HDEL', KEYS[1], '')
  return answer
end
local found = redis.call('HMGET', KEYS[1], 'm', ARGV[1])
local head, value = found[1], found[2]
if not head then return gone(0) end
if string.sub(head, 1, 1) ~= '\1' or #head < 20 then return -1 end
if not value or string.byte(head, 2) ~= 2 then return gone(1) end
local len = prefix(value)
if not len then return -1 end
if (len > 6 and string.sub(value, len - 16, len - 1) or '') ~= ARGV[2] then return gone(1) end
return 2
