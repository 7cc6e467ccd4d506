-- KEYS[1] broadcasts  ARGV: 1 id
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], '', 1)
return 1
