-- Shared by the scripts that handle messages. A message is a field of the record and a key of its own, which is named
-- after the field and expires by itself. Its field then remains until a script comes across it.
-- While a slot moves to another node of a cluster, the record may be here and a message not yet. Redis reports that as
-- an error, but only for commands with several keys. So a script that takes a missing key for an expired message asks
-- for the record's key too; and keys of messages are written first, so that after an error nothing has changed.
local brace = string.find(KEYS[1], '{', 1, true)
local messages_key = string.sub(KEYS[1], 1, brace - 2) .. 'm' .. string.sub(KEYS[1], brace)

-- Removes messages, expired or not, by their fields; in chunks, because Lua unpacks no more than a few thousand values.
local function forget(fields)
  for first = 1, #fields, 1000 do
    local last = math.min(first + 999, #fields)
    local keys = {}
    for i = first, last do keys[#keys + 1] = messages_key .. fields[i] end
    redis.call('DEL', unpack(keys))
    redis.call('HDEL', KEYS[1], unpack(fields, first, last))
  end
end
