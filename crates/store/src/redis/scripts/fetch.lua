-- KEYS: 1 record, 2 messages, 3 topics, 4 index  ARGV: 1 presence, 2 idle ms, 3 idle ms of a newcomer,
-- 4 position before the first, 5 most messages
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 20 then return -1 end
if string.sub(head, 4, 19) ~= ARGV[1] then return 0 end
local gone = {}
local found = backlog(tonumber(ARGV[4]), tonumber(ARGV[5]), gone)
if not found then return -1 end
forget(gone)
redis.call('PEXPIRE', KEYS[1], string.byte(head, 3) == 0 and ARGV[3] or ARGV[2])
return found
