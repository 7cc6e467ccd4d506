-- Shared by the scripts that read a channel: how many bytes of its value are in front of what is pending; false if
-- this version cannot read it.
local function prefix(value)
  local form = string.byte(value, 1)
  local len = (form == 0 or form == 1) and 2 or (form == 2 or form == 3) and 6
    or (form == 4 or form == 5) and 18 or (form == 6 or form == 7) and 22
  return len and #value >= len and len
end
