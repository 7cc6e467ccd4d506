-- KEYS[1] record  ARGV: topic's field or '', sequence, topic's field or '', sequence, ...
-- All is read before anything is written; in pieces, because Lua unpacks no more than some thousand values.
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
    -- Another message may have the topic by now.
    if found[i] and (topic == '' or found[i] == sequence) then there[#there + 1] = fields[i] end
  end
end
forget(there)
return 0
