-- KEYS: 1 record, 2 messages, 3 topics, 4 index  ARGV: 1 named dialect or 0, 2 dialect otherwise, 3 presence, 4 adopt,
-- 5 room, 6 list ('none', 'impossible', 'given'), 7 idle ms, 8 the same of a newcomer, 9 without channels, 10 Web Push: most
-- messages, 11.. listed channels, last: deadline
if not readable then return -1 end
local stored = head and string.byte(head, 2)
local function unknown(dialect)
  -- A replica refuses the write, which changes nothing: only a primary says that something is not stored.
  redis.call('HDEL', KEYS[1], '')
  return 10 + dialect
end
-- Flag: an operator has blocked the client.
if head and string.byte(head, 3) == 2 then return 3 end
local named = tonumber(ARGV[1])
local dialect = named ~= 0 and named or stored or tonumber(ARGV[2])
if dialect == 1 and ARGV[6] == 'none' then return 1 end
if dialect == 1 and ARGV[5] ~= '1' then return 2 end
if stored and stored ~= dialect then return unknown(dialect) end
if stored and dialect == 1 then
  local registered = ARGV[6] == 'given'
  for i = 11, #ARGV - 1 do
    if not channels[ARGV[i]] then registered = false end
  end
  if not registered then
    redis.call('DEL', KEYS[1])
    return string.sub(head, 4, 19)
  end
end
if not stored then
  local empty = ARGV[6] == 'given' and #ARGV == 11
  if ARGV[4] ~= '1' or (dialect == 1 and not empty) then return unknown(dialect) end
  -- Clients that are known may come and go while Redis is full. For others there is no room.
  if is_full then return redis.error_reply('OOM no memory for a new client') end
end
local found, gone = { 0 }, {}
if dialect == 2 and stored then
  found = backlog(-1, tonumber(ARGV[10]), gone)
  if not found then return -1 end
  forget(gone)
end
-- Flag: the client has come back.
local flags = stored and '\1' or '\0'
local sequence = head and string.sub(head, 20) or '0'
redis.call('HSET', KEYS[1], 'm', string.char(1, dialect) .. flags .. ARGV[3] .. sequence)
local idle = stored and ARGV[7] or ARGV[8]
redis.call('PEXPIRE', KEYS[1], next(channels) and idle or ARGV[9])
if dialect == 2 and not stored then
  -- What an expired record has left behind. Not before the HSET: Redis does not refuse a script for lack of memory once it has
  -- written, so strangers could go on filling a full Redis.
  redis.call('DEL', messages, topics, index)
end
all[#all + 1] = dialect
all[#all + 1] = found
return all
