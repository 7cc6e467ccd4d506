-- KEYS[1] broadcasts  ARGV: 1 known revision
if (redis.call('HGET', KEYS[1], '') or '0') == ARGV[1] then return 0 end
return redis.call('HGETALL', KEYS[1])
