-- KEYS: 1 nodes
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
local answer = {}
for i = 1, #all, 2 do
  local expiry, entry = string.match(all[i + 1], '^(%d+) (.*)$')
  if expiry and tonumber(expiry) > now then
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = entry
  end
end
return answer
