-- KEYS: 1 record, 2 messages, 3 topics, 4 index  ARGV: 1 head, 2 ms until it expires, 3 number of channels, then channel,
-- value, channel, value, ..., then field of a message, ms until it expires, message, field, ms, message, ..., last: deadline
if redis.call('PTTL', KEYS[1]) ~= -2 then return 0 end
-- What an expired record has left behind.
redis.call('DEL', messages, topics, index)
local first = 4 + 2 * ARGV[3]
local fields, values, tags, longest = { 'm', ARGV[1] }, {}, {}, 0
for i = 4, first - 1 do fields[#fields + 1] = ARGV[i] end
for i = first, #ARGV - 3, 3 do
  local field, ttl = ARGV[i], tonumber(ARGV[i + 1])
  local at, topic = #values, string.sub(field, 23)
  values[at + 1], values[at + 2] = field, string.format('%.0f', now + ttl) .. ARGV[i + 2]
  if topic ~= '' then
    tags[#tags + 1] = topic
    tags[#tags + 1] = string.sub(field, 1, 22)
  end
  longest = math.max(longest, ttl)
end
-- Lua unpacks no more than a few thousand values.
local function write(key, pairs, ms)
  for i = 1, #pairs, 1000 do redis.call('HSET', key, unpack(pairs, i, math.min(i + 999, #pairs))) end
  if #pairs > 0 then redis.call('PEXPIRE', key, ms) end
end
-- As in put_message.lua: a key may expire earlier than the clock of the script says.
write(messages, values, longest + 1000)
write(topics, tags, longest + 1000)
if #values > 2 * UNINDEXED_MAX then make_index() end
write(KEYS[1], fields, ARGV[2])
return 1
