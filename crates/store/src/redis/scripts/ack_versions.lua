-- KEYS[1] record  ARGV: channel, version or '' for any, channel, version, ...
-- Both versions become doubles: that is how they have to be compared.
local key, call, sub = KEYS[1], redis.call, string.sub

-- The channel without its pending version; false if that is not acknowledged, nil if it cannot be read.
local function cleared(value, acknowledged)
  local len = prefix(value)
  if not len then return nil end
  if #value == len then return false end
  if acknowledged ~= '' and tonumber(sub(value, len + 1)) ~= tonumber(acknowledged) then return false end
  return sub(value, 1, len)
end

-- Nearly every user agent acknowledges one channel at a time.
if #ARGV == 2 then
  local found = call('HMGET', key, 'm', ARGV[1])
  if not found[1] then return 0 end
  if sub(found[1], 1, 1) ~= '\1' then return -1 end
  if not found[2] or sub(found[1], 2, 2) ~= '\1' then return 0 end
  local value = cleared(found[2], ARGV[2])
  if value == nil then return -1 end
  if value then call('HSET', key, ARGV[1], value) end
  return 0
end

-- Everything is read before anything is written; in chunks, because Lua unpacks no more than a few thousand values.
local writes = {}
for first = 1, #ARGV, 1000 do
  local fields = { 'm' }
  for i = first, math.min(first + 999, #ARGV), 2 do fields[#fields + 1] = ARGV[i] end
  local found = call('HMGET', key, unpack(fields))
  if not found[1] then return 0 end
  if sub(found[1], 1, 1) ~= '\1' then return -1 end
  if sub(found[1], 2, 2) ~= '\1' then return 0 end
  for i = 2, #found do
    local value = found[i] and cleared(found[i], ARGV[first + 2 * (i - 2) + 1])
    if value == nil then return -1 end
    if value then
      writes[#writes + 1] = fields[i]
      writes[#writes + 1] = value
    end
  end
end
for first = 1, #writes, 1000 do
  call('HSET', key, unpack(writes, first, math.min(first + 999, #writes)))
end
return 0
