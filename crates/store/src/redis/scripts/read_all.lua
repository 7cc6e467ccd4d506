-- Shared by the scripts that read a whole record: its head and its channels as fields and values, its messages, and
-- whether all of it is readable. A field that this version cannot read makes the step fail before it writes anything.
local all = redis.call('HGETALL', KEYS[1])
local head = false
local readable = true
local channels = {}
-- The position of a message is its sequence, plus 2^52 if it has no topic. Fields are found by their positions.
local positions, field_at = {}, {}
local len, kept = #all, 0
for i = 1, len, 2 do
  local field, value = all[i], all[i + 1]
  local message = false
  if #field == 16 then
    local start = prefix(value)
    if not start or not string.find(value, '^%d*$', start + 1) then readable = false end
    channels[field] = true
  elseif field == 'm' then
    head = value
  else
    message = true
    local position
    if #field == 13 and string.byte(field, 1) == 116 then
      position = tonumber(value)
    elseif value == '' then
      position = tonumber(field)
      position = position and position + 2^52
    end
    if position then
      positions[#positions + 1] = position
      field_at[position] = field
    else
      readable = false
    end
  end
  if not message then
    if kept + 1 < i then all[kept + 1], all[kept + 2] = field, value end
    kept = kept + 2
  end
end
for i = kept + 1, len do all[i] = nil end
if head then
  local dialect = string.byte(head, 2)
  if string.byte(head, 1) ~= 1 or (dialect ~= 1 and dialect ~= 2) or not string.find(head, '^%d+$', 19) then
    readable = false
  end
elseif len > 0 then
  readable = false
end
