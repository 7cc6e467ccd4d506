-- Shared by the scripts that renew a record: after how many milliseconds it expires, by its head and its number of fields.
local function lifetime(head, fields, known, newcomer, without_channels)
  if fields == 1 then return tonumber(without_channels) end
  return tonumber(string.byte(head, 3) == 0 and newcomer or known)
end
