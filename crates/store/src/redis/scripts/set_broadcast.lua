-- KEYS[1] broadcasts  ARGV: 1 id, 2 version, 3 most broadcasts, last: deadline
local found = redis.call('HMGET', KEYS[1], '', ARGV[1])
local revision, version = found[1], found[2]
if version == ARGV[2] then return 0 end
if not version and redis.call('HLEN', KEYS[1]) - (revision and 1 or 0) >= tonumber(ARGV[3]) then return 1 end
-- At least the time, so that no revision is used again after the store has lost some of its data.
revision = math.max((revision or 0) + 1, now)
redis.call('HSET', KEYS[1], '', string.format('%.0f', revision), ARGV[1], ARGV[2])
return 0
