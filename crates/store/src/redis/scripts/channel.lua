-- Shared by the scripts that read a channel: the number of bytes of its value in front of the pending version; false
-- if this version cannot read it.
local function prefix(value)
  local form = string.byte(value, 1)
  local len = (form == 0 or form == 1) and 2 or (form == 2 or form == 3) and 6
    or (form == 4 or form == 5) and 18 or (form == 6 or form == 7) and 22
  return len and #value >= len and len
end
