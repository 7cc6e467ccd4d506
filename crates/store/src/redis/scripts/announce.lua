-- KEYS: 1 nodes, 2 epoch, 3 format  ARGV: 1 node, 2 entry, 3 lease ms, 4 epoch if there is none, 5 version,
-- 6 fingerprint of the UAID key or '', last: deadline
local unfit = misfit(KEYS[3], ARGV[5], ARGV[6])
if unfit then return unfit end
-- Only the clock of Redis counts, so the clocks of the nodes need not agree.
local all = redis.call('HGETALL', KEYS[1])
local lapsed = 1
local answer = { 0, '' }
for i = 1, #all, 2 do
  local node, value = all[i], all[i + 1]
  local expiry, entry = string.match(value, '^(%d+) (.*)$')
  if expiry and tonumber(expiry) > now then
    if node == ARGV[1] then
      lapsed = 0
    else
      answer[#answer + 1] = node
      answer[#answer + 1] = entry
    end
  else
    redis.call('HDEL', KEYS[1], node)
  end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ARGV[3]) .. ' ' .. ARGV[2])
answer[#answer + 1] = ARGV[1]
answer[#answer + 1] = ARGV[2]
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  epoch = ARGV[4]
  redis.call('SET', KEYS[2], epoch)
end
answer[1], answer[2] = lapsed, epoch
return answer
