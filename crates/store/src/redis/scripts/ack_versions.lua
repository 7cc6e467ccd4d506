-- KEYS[1] record  ARGV: channel, version or '' for any, channel, version, ...
-- Both versions become doubles, which is how they have to be compared.
-- All is read before anything is written; in pieces, because Lua unpacks no more than some thousand values.
local cleared = {}
for first = 1, #ARGV, 1000 do
  local last = math.min(first + 999, #ARGV)
  local fields = { 'm' }
  for i = first, last, 2 do fields[#fields + 1] = ARGV[i] end
  local found = redis.call('HMGET', KEYS[1], unpack(fields))
  if not found[1] then return 0 end
  if string.byte(found[1], 1) ~= 1 then return -1 end
  for i = 2, #found do
    local value = found[i]
    if value then
      local form = string.byte(value, 1)
      local prefix = form == 0 and 2 or form == 1 and 2 or form == 2 and 6 or form == 3 and 6 or 0
      if prefix == 0 or #value < prefix then return -1 end
      local acknowledged = ARGV[first + 2 * (i - 2) + 1]
      if #value > prefix
        and (acknowledged == '' or tonumber(string.sub(value, prefix + 1)) == tonumber(acknowledged)) then
        cleared[#cleared + 1] = fields[i]
        cleared[#cleared + 1] = string.sub(value, 1, prefix)
      end
    end
  end
end
for first = 1, #cleared, 1000 do
  redis.call('HSET', KEYS[1], unpack(cleared, first, math.min(first + 999, #cleared)))
end
return 0
