-- KEYS[1] check  ARGV: 1 ms until it expires, 2 epoch if there is none
local epoch = redis.call('GET', KEYS[1]) or ARGV[2]
redis.call('SET', KEYS[1], epoch, 'PX', ARGV[1])
return epoch
