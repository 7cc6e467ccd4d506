-- Shared by the scripts that change the directory. Notes that a node has joined, changed or left.
local function changed(nodes, changes, node)
  -- At least the time, so that no revision is used again after the store has lost some of its data.
  local revision = string.format('%.0f', math.max((redis.call('HGET', nodes, '') or 0) + 1, now))
  redis.call('HSET', nodes, '', revision)
  redis.call('ZADD', changes, revision, node)
  local surplus = redis.call('ZCARD', changes) - 1024
  if surplus > 0 then
    redis.call('ZREM', changes, unpack(redis.call('ZRANGEBYSCORE', changes, '-inf', '+inf', 'LIMIT', 0, surplus)))
  end
end
