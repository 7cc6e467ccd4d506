-- KEYS: 1 record, 2 topics  ARGV: 1 presence, 2 channel, last: deadline
-- Its messages are not good any more (`is_good`) and are forgotten when a script comes across them.
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 20 then return -1 end
if string.sub(head, 4, 19) ~= ARGV[1] then return 0 end
if redis.call('HDEL', KEYS[1], ARGV[2]) == 1 and string.byte(head, 2) == 2 then
  -- The next message that finds the client full looks for them.
  redis.call('HDEL', KEYS[2], 'f', ARGV[2])
end
return 1
