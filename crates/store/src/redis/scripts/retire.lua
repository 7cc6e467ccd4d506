-- KEYS: 1 nodes, 2 leases, 3 changes  ARGV: 1 node
if redis.call('ZREM', KEYS[2], ARGV[1]) == 1 then
  redis.call('HDEL', KEYS[1], ARGV[1])
  changed(KEYS[1], KEYS[3], ARGV[1])
end
return 0
