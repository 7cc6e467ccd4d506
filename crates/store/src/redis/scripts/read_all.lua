-- Shared by the scripts that read a whole record: all fields of KEYS[1], the record's head, and whether it is
-- whole. A field that this version cannot read makes the step fail before it writes anything.
local all = redis.call('HGETALL', KEYS[1])
local head = false
local readable = true
local channels = {}
for i = 1, #all, 2 do
  local field, value = all[i], all[i + 1]
  if field == 'm' then
    head = value
  else
    local form = string.byte(value, 1)
    local start = form == 0 and 3 or form == 1 and 3 or form == 2 and 7 or form == 3 and 7 or 0
    if #field ~= 16 or start == 0 or #value < start - 1 or not string.find(value, '^%d*$', start) then
      readable = false
    end
    channels[field] = true
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
