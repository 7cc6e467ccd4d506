-- KEYS[1] record  ARGV: 1 presence, 2 idle ms, 3 position before the first, 4 most messages
if not readable then return -1 end
if not head or string.sub(head, 3, 18) ~= ARGV[1] then return 0 end
local expired = {}
local found = backlog(tonumber(ARGV[3]), tonumber(ARGV[4]), expired)
if not found then return -1 end
forget(expired)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return found
