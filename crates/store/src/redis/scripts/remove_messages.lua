-- KEYS[1] record  ARGV: field of the topic or '', sequence, field of the topic or '', sequence, ...
-- Everything is read before anything is written; in chunks, because Lua unpacks no more than a few thousand values.
local there = {}
for first = 1, #ARGV, 2000 do
  local fields = { 'm' }
  for i = first, math.min(first + 1999, #ARGV), 2 do
    fields[#fields + 1] = ARGV[i] ~= '' and ARGV[i] or ARGV[i + 1]
  end
  local found = redis.call('HMGET', KEYS[1], unpack(fields))
  if not found[1] then return 0 end
  if string.sub(found[1], 1, 1) ~= '\1' then return -1 end
  for i = 2, #found do
    local topic, sequence = ARGV[first + 2 * (i - 2)], ARGV[first + 2 * (i - 2) + 1]
    -- By now another message may have the topic.
    if found[i] and (topic == '' or found[i] == sequence) then there[#there + 1] = fields[i] end
  end
end
forget(there)
return 0
