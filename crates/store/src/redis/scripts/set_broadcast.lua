-- KEYS[1] broadcasts  ARGV: 1 id, 2 version, 3 broadcasts at most
local found = redis.call('HMGET', KEYS[1], '', ARGV[1])
local revision, version = found[1], found[2]
if version == ARGV[2] then return 0 end
if not version and redis.call('HLEN', KEYS[1]) - (revision and 1 or 0) >= tonumber(ARGV[3]) then return 1 end
if revision then
  revision = revision + 1
else
  -- Not one that was in use before, if the store has lost its memory.
  local time = redis.call('TIME')
  revision = time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.call('HSET', KEYS[1], '', string.format('%.0f', revision), ARGV[1], ARGV[2])
return 0
