-- KEYS: 1 nodes, 2 leases
local has_lapsed = { [''] = true }
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do has_lapsed[node] = true end
local all = redis.call('HGETALL', KEYS[1])
local answer = {}
for i = 1, #all, 2 do
  if not has_lapsed[all[i]] then
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = all[i + 1]
  end
end
return answer
