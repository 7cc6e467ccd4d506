-- KEYS: 1 record, 2 messages, 3 topics, 4 index  ARGV: 1 presence, 2 idle ms, 3 idle ms of a newcomer, 4 former presence or ''
local head = redis.call('HGET', KEYS[1], 'm')
if not head then return 0 end
if string.byte(head, 1) ~= 1 or #head < 20 then return -1 end
if string.sub(head, 4, 19) ~= ARGV[1] then return 0 end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], 'm', string.sub(head, 1, 3) .. ARGV[4] .. string.sub(head, 20))
elseif redis.call('HLEN', KEYS[1]) == 1 then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
else
  redis.call('HSET', KEYS[1], 'm', string.sub(head, 1, 3) .. string.rep('\0', 16) .. string.sub(head, 20))
  redis.call('PEXPIRE', KEYS[1], string.byte(head, 3) == 0 and ARGV[3] or ARGV[2])
end
return 0
