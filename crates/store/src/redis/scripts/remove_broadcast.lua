-- KEYS[1] broadcasts  ARGV: 1 id, last: deadline
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
-- As in set_broadcast.lua.
local revision = math.max((redis.call('HGET', KEYS[1], '') or 0) + 1, now)
redis.call('HSET', KEYS[1], '', string.format('%.0f', revision))
return 1
