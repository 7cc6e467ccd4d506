-- KEYS[1] check  ARGV: 1 ms until it expires
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 0
