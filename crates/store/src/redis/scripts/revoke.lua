-- KEYS: 1 record, 2 messages, 3 topics, 4 index  ARGV: 1 'forget', 'block' or 'unblock', last: deadline
local head = redis.call('HGET', KEYS[1], 'm')
if head and (string.byte(head, 1) ~= 1 or #head < 20) then return -1 end
local is_blocked = head and string.byte(head, 3) == 2
if ARGV[1] == 'unblock' then
  if not is_blocked then return { 0, '' } end
  redis.call('DEL', KEYS[1])
  return { 1, '' }
end
if is_blocked or (not head and ARGV[1] == 'forget') then return { 0, '' } end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
if ARGV[1] == 'block' then
  -- No channels, so every other script treats it as a client that has unregistered them all. It does not expire.
  local dialect = head and string.sub(head, 2, 2) or '\1'
  redis.call('HSET', KEYS[1], 'm', '\1' .. dialect .. '\2' .. string.rep('\0', 16) .. (head and string.sub(head, 20) or '0'))
end
return { 1, head and string.sub(head, 4, 19) or '' }
