-- KEYS[1] any key of the primary  ARGV: 1 where to go on, 2 pattern of the records, 3 about how many keys to look at
return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
