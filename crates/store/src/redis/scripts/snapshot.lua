-- KEYS[1] record  ARGV: 1 presence, 2 idle ms, 3 the same of a newcomer, 4 without channels
if not readable then return -1 end
if not head or string.sub(head, 4, 19) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], lifetime(head, #all / 2, ARGV[2], ARGV[3], ARGV[4]))
return all
