-- Shared by the scripts that read a whole record: its fields and values, its head, its channels, and whether this version
-- can read them. If not, the step fails before it writes anything. Other fields were added by a newer version.
local all = redis.call('HGETALL', KEYS[1])
local head, readable, channels = false, true, {}
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  if field == 'm' then
    head = value
  elseif #field == 16 then
    local len = prefix(value)
    if not len or not string.find(value, '^%d*$', len + 1) then readable = false end
    channels[field] = true
  end
end
if head then
  local dialect = string.byte(head, 2)
  if string.byte(head, 1) ~= 1 or (dialect ~= 1 and dialect ~= 2) or not string.find(head, '^%d+$', 20) then
    readable = false
  end
elseif #all > 0 then
  readable = false
end
