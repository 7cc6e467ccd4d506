-- Shared by the scripts that read messages. `messages.rs` says how they are written.
-- KEYS: 1 record, 2 messages, 3 topics, 4 index
local messages, topics, index = KEYS[2], KEYS[3], KEYS[4]

-- With no more messages than this, their names are read and sorted. With more there is an index.
local UNINDEXED_MAX = 256

-- The position of a message as a number.
local function position(field) return tonumber(string.sub(field, 1, 14)) end

-- For each channel, the sequence up to which messages are not for its present registration; false if it is not
-- registered, nil if that is not known yet.
local since = {}

-- Whether a message may still be sent, and where its bytes begin; nil if this version cannot read it.
local function is_good(field, value)
  local _, last = string.find(value, '^%d+')
  if not last or string.byte(value, last + 1) ~= 1 or #value < last + 20 then return nil end
  if tonumber(string.sub(value, 1, last)) <= now then return false end
  local channel = string.sub(value, last + 2, last + 17)
  if since[channel] == nil then
    local registered = redis.call('HGET', KEYS[1], channel)
    local len = registered and prefix(registered)
    if registered and not len then return nil end
    since[channel] = len and (tonumber(string.sub(registered, len + 1)) or 0)
  end
  return since[channel] and tonumber(string.sub(field, 2, 14)) > since[channel], last + 1
end

-- Makes the index anew; in chunks, because Lua unpacks no more than a few thousand values.
local function make_index()
  redis.call('DEL', index)
  local fields = redis.call('HKEYS', messages)
  for first = 1, #fields, 500 do
    local entries = {}
    for i = first, math.min(first + 499, #fields) do
      entries[#entries + 1] = position(fields[i])
      entries[#entries + 1] = fields[i]
    end
    redis.call('ZADD', index, unpack(entries))
  end
  redis.call('PEXPIRE', index, redis.call('PTTL', messages))
end

-- Removes messages by their fields, whether they are there or not.
local function forget(fields)
  for first = 1, #fields, 1000 do
    local last = math.min(first + 999, #fields)
    redis.call('HDEL', messages, unpack(fields, first, last))
    redis.call('ZREM', index, unpack(fields, first, last))
    for i = first, last do
      local name, topic = string.sub(fields[i], 1, 22), string.sub(fields[i], 23)
      if topic ~= '' and redis.call('HGET', topics, topic) == name then redis.call('HDEL', topics, topic) end
    end
  end
end
