-- KEYS: 1 record, 2 messages, 3 topics, 4 index, 5 missed, of no client and no node
-- Calls every command that the other scripts call, and returns the errors of those that Redis rejected.
local refused = {}
local function try(name, ...)
  local answer = redis.pcall(name, ...)
  if type(answer) == 'table' and answer.err then refused[#refused + 1] = name .. ': ' .. answer.err end
end
local key, index = KEYS[2], KEYS[4]
try('TIME')
try('SET', KEYS[1], '1', 'PX', 1000)
try('GET', KEYS[1])
try('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
try('HSET', key, 'n', '1')
try('HGET', key, 'n')
try('HMGET', key, 'n')
try('HGETALL', key)
try('HKEYS', key)
try('HLEN', key)
try('HEXISTS', key, 'n')
try('HRANDFIELD', key, 1)
try('PTTL', key)
try('HDEL', key, 'n')
try('ZADD', index, 1, 'n')
try('ZCARD', index)
try('ZRANGEBYSCORE', index, 1, 2)
try('ZREM', index, 'n')
for _, name in ipairs({ KEYS[3], KEYS[5] }) do
  try('HSET', name, 'n', '1')
  try('PEXPIRE', name, 1)
end
return refused
