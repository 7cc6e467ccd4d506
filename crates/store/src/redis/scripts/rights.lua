-- KEYS: 1 a record of no client, 2 what no node has missed
-- Calls every command that the other scripts call, and returns the errors of those that Redis rejected.
local refused = {}
local function try(name, ...)
  local answer = redis.pcall(name, ...)
  if type(answer) == 'table' and answer.err then refused[#refused + 1] = name .. ': ' .. answer.err end
end
local key, message = KEYS[1], messages_key .. '1'
try('HSET', key, 'n', '1')
try('HINCRBY', key, 'n', 1)
try('HGET', key, 'n')
try('HMGET', key, 'n')
try('HGETALL', key)
try('HKEYS', key)
try('HLEN', key)
try('HDEL', key, 'n')
try('SET', message, '1', 'PX', 1000)
try('GET', message)
try('MGET', key, message)
try('GETRANGE', message, 0, 0)
try('PTTL', message)
try('EXISTS', key, message)
try('DEL', key, message)
try('HSET', key, 'n', '1')
try('PEXPIRE', key, 1)
try('HSET', KEYS[2], 'n', '1')
try('PEXPIRE', KEYS[2], 1)
try('TIME')
return refused
