-- KEYS: 1 record, 2 messages, 3 topics, 4 index  ARGV: 1 presence, 2 idle ms, 3 the same of a newcomer,
-- 4 without channels, 5 position before the first, 6 most messages
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 20 then return -1 end
if string.sub(head, 4, 19) ~= ARGV[1] then return 0 end
local gone = {}
local found = backlog(tonumber(ARGV[5]), tonumber(ARGV[6]), gone)
if not found then return -1 end
forget(gone)
redis.call('PEXPIRE', KEYS[1], lifetime(head, redis.call('HLEN', KEYS[1]), ARGV[2], ARGV[3], ARGV[4]))
return found
