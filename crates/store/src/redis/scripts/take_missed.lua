-- KEYS[1] missed  ARGV: deadline
local connections = redis.call('HKEYS', KEYS[1])
if #connections > 0 then redis.call('DEL', KEYS[1]) end
return connections
