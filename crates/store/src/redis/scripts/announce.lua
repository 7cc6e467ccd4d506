-- KEYS: 1 nodes, 2 leases, 3 changes, 4 epoch, 5 format  ARGV: 1 node, 2 entry, 3 lease ms, 4 epoch if there is none, 5 version,
-- 6 fingerprint of the UAID key or '', 7 revision that the caller knows, last: deadline
local unfit = misfit(KEYS[5], ARGV[5], ARGV[6])
if unfit then return unfit end
-- Only the clock of Redis counts, so the clocks of the nodes need not agree.
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('ZREM', KEYS[2], node)
  redis.call('HDEL', KEYS[1], node)
  changed(KEYS[1], KEYS[3], node)
end
local lapsed = redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  changed(KEYS[1], KEYS[3], ARGV[1])
end
local epoch = redis.call('GET', KEYS[4])
if not epoch then
  epoch = ARGV[4]
  redis.call('SET', KEYS[4], epoch)
end
local revision, known = redis.call('HGET', KEYS[1], ''), tonumber(ARGV[7])
local answer = { lapsed, epoch, revision, 0 }
local oldest = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
if oldest and known >= oldest - 1 and known <= tonumber(revision) then
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. ARGV[7], '+inf')) do
    answer[#answer + 1] = node
    answer[#answer + 1] = redis.call('HGET', KEYS[1], node) or ''
  end
  return answer
end
answer[4] = 1
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if all[i] ~= '' then
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = all[i + 1]
  end
end
return answer
