-- KEYS: 1 record, 2 messages, 3 topics, 4 index  ARGV: 1 channel, 2 restriction or '', 3 nonce, 4 tag of the topic or '',
-- 5 ms until it expires or 0 for a message that is not stored, 6 most messages, 7 reserve of a channel, 8 idle
-- ms, or 0 if a newcomer has the same, 9 message, 10 only if the step may have been performed already: see repeated.lua, last:
-- deadline
local key, topic, call, sub = KEYS[1], ARGV[4], redis.call, string.sub
local max, ttl = tonumber(ARGV[6]), tonumber(ARGV[5])
local count, reserved = 0, nil

-- Looks at some messages, and forgets those that are not good any more. After a look that found none there is no other
-- for a second, so that a message to a client that is full costs little.
local function look()
  if count == 0 then return end
  local looked = tonumber(call('HGET', topics, 'f') or 0)
  if looked <= now and now < looked + 1000 then return end
  local fields, gone = call('HRANDFIELD', messages, 100), {}
  local values = call('HMGET', messages, unpack(fields))
  for i, field in ipairs(fields) do
    if is_good(field, values[i]) == false then gone[#gone + 1] = field end
  end
  if #gone > 0 then
    forget(gone)
    count = count - #gone
  else
    call('HSET', topics, 'f', now)
    call('PEXPIRE', topics, call('PTTL', messages))
  end
end

-- Whether one more message can be stored although there are as many as may be: it replaces one, or its channel has a
-- place in its reserve. `topics` lists what a channel has there.
local function is_admitted()
  look()
  if count < max then return true end
  local former = topic ~= '' and call('HGET', topics, topic)
  former = former and former .. topic
  local value = former and call('HGET', messages, former)
  local replaces = value and is_good(former, value)
  if replaces and count - 1 < max then return true end
  local list, kept, was_reserved, at = call('HGET', topics, ARGV[1]) or '', {}, false, 1
  while at <= #list do
    local field = sub(list, at, at + (sub(list, at, at) == '0' and 33 or 21))
    if field == former then
      was_reserved = true
    elseif call('HEXISTS', messages, field) == 1 then
      kept[#kept + 1] = field
    end
    at = at + #field
  end
  if not replaces or was_reserved then reserved = table.concat(kept) end
  return replaces or #kept < tonumber(ARGV[7])
end

local found = call('HMGET', key, 'm', ARGV[1])
local head, value = found[1], found[2]
-- A replica refuses the write, which changes nothing: only a primary says that something is not stored.
if not head then call('HDEL', key, '') return 0 end
if sub(head, 1, 1) ~= '\1' or #head < 20 then return -1 end
if not value or sub(head, 2, 2) ~= '\2' then call('HDEL', key, '') return 1 end
local len = prefix(value)
if not len then return -1 end
if (len > 6 and sub(value, len - 16, len - 1) or '') ~= ARGV[2] then call('HDEL', key, '') return 1 end
if #ARGV == 11 then
  for _, field in ipairs(call('HKEYS', messages)) do
    if sub(field, 15, 22) == ARGV[3] then return repeated(head, tonumber(sub(field, 2, 14))) end
  end
  -- One that is not stored and replaces none can be performed twice.
  if (ttl > 0 or topic ~= '') and may_be_performed(head, ARGV[10]) then return unsure() end
end
if ttl > 0 then
  count = call('HLEN', messages)
  if count >= max and not is_admitted() then return 2 end
end
local previous = sub(head, 20)
local sequence = previous + 1
if sequence < now then sequence = now end
local digits = sequence .. ''
local was_newcomer = sub(head, 3, 3) == '\0'
head = sub(head, 1, 2) .. '\1' .. sub(head, 4, 19) .. digits
if topic ~= '' then
  local former = call('HGET', topics, topic)
  if former then
    forget({ former .. topic })
    count = call('HLEN', messages)
  end
end
call('HSET', key, 'm', head)
if was_newcomer and ARGV[8] ~= '0' then call('PEXPIRE', key, ARGV[8]) end
local answer = head .. ' ' .. previous
if ttl == 0 then return answer end
local field = (topic == '' and '1' or '0') .. string.rep('0', 13 - #digits) .. digits .. ARGV[3] .. topic
call('HSET', messages, field, now + ttl .. ARGV[9])
-- A second more than the message has: a key may expire earlier than the clock of the script says.
if count == 0 or call('PTTL', messages) < ttl + 1000 then call('PEXPIRE', messages, ttl + 1000) end
if topic ~= '' then call('HSET', topics, topic, sub(field, 1, 22)) end
if reserved then call('HSET', topics, ARGV[1], reserved .. field) end
if topic ~= '' or reserved then call('PEXPIRE', topics, call('PTTL', messages)) end
if count == UNINDEXED_MAX then
  make_index()
elseif count > UNINDEXED_MAX then
  call('ZADD', index, position(field), field)
  call('PEXPIRE', index, call('PTTL', messages))
end
return answer
