-- Shared by the scripts that deal with messages. A message is a field of the record and a key of its own, which is
-- named after the field and expires by itself: then the field is left over, until somebody meets it.
local messages_key = 'm' .. string.sub(KEYS[1], 2)

-- Removes messages, there or expired, by their fields; in pieces, because Lua unpacks no more than some thousand.
local function forget(fields)
  for first = 1, #fields, 1000 do
    local last = math.min(first + 999, #fields)
    local keys = {}
    for i = first, last do keys[#keys + 1] = messages_key .. fields[i] end
    redis.call('HDEL', KEYS[1], unpack(fields, first, last))
    redis.call('DEL', unpack(keys))
  end
end
