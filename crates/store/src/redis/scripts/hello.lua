-- KEYS[1] record  ARGV: 1 named dialect or 0, 2 dialect otherwise, 3 presence, 4 adopt, 5 room,
-- 6 list ('none', 'impossible', 'given'), 7 idle ms, 8.. listed channels
if not readable then return -1 end
local stored = head and string.byte(head, 2)
local named = tonumber(ARGV[1])
local dialect = named ~= 0 and named or stored or tonumber(ARGV[2])
if dialect == 1 and ARGV[6] == 'none' then return 1 end
if dialect == 1 and ARGV[5] ~= '1' then return 2 end
if stored and stored ~= dialect then return 10 + dialect end
if stored and dialect == 1 then
  local registered = ARGV[6] == 'given'
  for i = 8, #ARGV do
    if not channels[ARGV[i]] then registered = false end
  end
  if not registered then
    redis.call('DEL', KEYS[1])
    return string.sub(head, 3, 18)
  end
end
if not stored then
  local empty = ARGV[6] == 'given' and #ARGV == 7
  if ARGV[4] ~= '1' or (dialect == 1 and not empty) then return 10 + dialect end
end
local sequence = head and string.sub(head, 19) or '0'
redis.call('HSET', KEYS[1], 'm', string.char(1, dialect) .. ARGV[3] .. sequence)
redis.call('PEXPIRE', KEYS[1], ARGV[7])
all[#all + 1] = dialect
return all
