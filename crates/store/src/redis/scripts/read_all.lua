-- Shared by the scripts that read a whole record: its head and its channels as fields and values, its messages, and
-- whether it is whole. A field that this version cannot read makes the step fail before it writes anything.
local all = redis.call('HGETALL', KEYS[1])
local head = false
local readable = true
local channels = {}
-- A message's position is its sequence, and more than that for one without a topic. Its field is found by it.
local positions, field_at = {}, {}
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  if #field == 16 then
    local len = prefix(value)
    if not len or not string.find(value, '^%d*$', len + 1) then readable = false end
    channels[field] = true
  elseif field == 'm' then
    head = value
  else
    local topic = #field == 13 and string.sub(field, 1, 1) == 't'
    local sequence = topic and value or field
    if string.find(sequence, '^%d+$') and (topic or value == '') then
      local position = topic and tonumber(sequence) or sequence + 2^52
      positions[#positions + 1] = position
      field_at[position] = field
    else
      readable = false
    end
  end
end
if head then
  local dialect = string.byte(head, 2)
  if string.byte(head, 1) ~= 1 or (dialect ~= 1 and dialect ~= 2) or not string.find(head, '^%d+$', 19) then
    readable = false
  end
elseif #all > 0 then
  readable = false
end
if #positions > 0 then
  local rest = {}
  for i = 1, #all, 2 do
    if #all[i] == 16 or all[i] == 'm' then
      rest[#rest + 1] = all[i]
      rest[#rest + 1] = all[i + 1]
    end
  end
  all = rest
end
