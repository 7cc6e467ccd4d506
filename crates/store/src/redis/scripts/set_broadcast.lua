-- KEYS[1] broadcasts  ARGV: 1 id, 2 version, 3 most broadcasts
local found = redis.call('HMGET', KEYS[1], '', ARGV[1])
local revision, version = found[1], found[2]
if version == ARGV[2] then return 0 end
if not version and redis.call('HLEN', KEYS[1]) - (revision and 1 or 0) >= tonumber(ARGV[3]) then return 1 end
if revision then
  revision = revision + 1
else
  -- The time, so that after the store has lost its data no revision is used again.
  local time = redis.call('TIME')
  revision = time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.call('HSET', KEYS[1], '', string.format('%.0f', revision), ARGV[1], ARGV[2])
return 0
