-- Shared by the scripts that deal with messages. A message is a field of the record and a key of its own, which is
-- named after the field and expires by itself: then the field is left over, until somebody meets it.
-- While a slot moves to another node of a cluster, the record may be here and a message not yet. Redis tells that only
-- to commands with several keys, by an error. So whatever takes a missing key for an expired message asks for the
-- record's key too; and keys of messages are written first, so that after an error nothing has changed.
local messages_key = 'm' .. string.sub(KEYS[1], 2)

-- Removes messages, there or expired, by their fields; in pieces, because Lua unpacks no more than some thousand.
local function forget(fields)
  for first = 1, #fields, 1000 do
    local last = math.min(first + 999, #fields)
    local keys = {}
    for i = first, last do keys[#keys + 1] = messages_key .. fields[i] end
    redis.call('DEL', unpack(keys))
    redis.call('HDEL', KEYS[1], unpack(fields, first, last))
  end
end
