-- KEYS: 1 record, 2 messages, 3 topics, 4 index
if not readable then return -1 end
if not head then return 0 end
if string.byte(head, 3) == 2 then return 1 end
local found = { 0 }
if string.byte(head, 2) == 2 then found = backlog(-1, math.huge, {}) end
if not found then return -1 end
return { redis.call('PTTL', KEYS[1]), all, found }
