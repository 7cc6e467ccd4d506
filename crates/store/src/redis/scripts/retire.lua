-- KEYS[1] nodes  ARGV: 1 node
redis.call('HDEL', KEYS[1], ARGV[1])
return 0
