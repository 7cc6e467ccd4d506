-- KEYS[1] record  ARGV: 1 presence, 2 idle ms, 3 idle ms of a newcomer
if not readable then return -1 end
if not head or string.sub(head, 4, 19) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], string.byte(head, 3) == 0 and ARGV[3] or ARGV[2])
return all
