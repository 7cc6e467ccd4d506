-- KEYS[1] record  ARGV: 1 channel, 2 restriction or '', 3 field of the topic or '', 4 ms until the key of the message
-- expires or 0 for a message that is not stored, 5 most messages, 6 message, last: deadline
local key, topic, call, sub = KEYS[1], ARGV[3], redis.call, string.sub

-- Whether there is no room for one more. If the record has that many fields, count the messages that have not expired.
local function full(max)
  if call('HLEN', key) - 2 < max then return false end
  local fields, keys, live = {}, {}, 0
  for _, field in ipairs(call('HKEYS', key)) do
    if #field ~= 16 and field ~= 'm' then
      fields[#fields + 1] = field
      keys[#keys + 1] = messages_key .. field
    end
  end
  for first = 1, #keys, 1000 do
    live = live + call('EXISTS', key, unpack(keys, first, math.min(first + 999, #keys))) - 1
  end
  if live < #keys then
    local expired = {}
    for i = 1, #keys do
      if call('EXISTS', key, keys[i]) == 1 then expired[#expired + 1] = fields[i] end
    end
    forget(expired)
  end
  return live >= max and (topic == '' or call('EXISTS', key, messages_key .. topic) == 1)
end

local found = call('HMGET', key, 'm', ARGV[1])
local head, value = found[1], found[2]
if not head then return 0 end
if sub(head, 1, 1) ~= '\1' or #head < 19 then return -1 end
if not value then return 1 end
local len = prefix(value)
if not len then return -1 end
if (len > 6 and sub(value, len - 16, len - 1) or '') ~= ARGV[2] then return 1 end
local stored = ARGV[4] ~= '0'
if stored and full(tonumber(ARGV[5])) then return 2 end
local sequence = sub(head, 19) + 1 .. ''
head = sub(head, 1, 18) .. sequence
if not stored then
  if topic ~= '' then forget({ topic }) end
  call('HSET', key, 'm', head)
elseif topic == '' then
  call('SET', messages_key .. sequence, ARGV[6], 'PX', ARGV[4])
  call('HSET', key, 'm', head, sequence, '')
else
  -- While a slot moves, the message to replace may not be here yet, and would arrive later. A command with two keys
  -- fails then; one with one key does not.
  call('EXISTS', key, messages_key .. topic)
  call('SET', messages_key .. topic, ARGV[6], 'PX', ARGV[4])
  call('HSET', key, 'm', head, topic, sequence)
end
return head
