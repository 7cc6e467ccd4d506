-- KEYS[1] missed  ARGV: 1 connection, 2 most connections, 3 ms until it expires
local full = redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2])
redis.call('HSET', KEYS[1], full and '' or ARGV[1], '')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 0
