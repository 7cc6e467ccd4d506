-- KEYS[1] record  ARGV: 1 channel, 2 version, 3 idle ms, or 0 if a newcomer has the same, 4 only if the step may have been
-- performed already: see repeated.lua, last: deadline
-- The version stays text: a Lua number cannot hold every version up to 2^63-1. The sequence becomes a number and then
-- text again, which is exact below 10^14.
local key, channel, call, sub = KEYS[1], ARGV[1], redis.call, string.sub
local found = call('HMGET', key, 'm', channel)
local head, value = found[1], found[2]
-- A replica refuses the write, which changes nothing: only a primary says that something is not stored.
if not head then call('HDEL', key, '') return 0 end
if sub(head, 1, 1) ~= '\1' or #head < 20 then return -1 end
if not value or sub(head, 2, 2) ~= '\1' then call('HDEL', key, '') return 0 end
-- The same as `prefix` in channel.lua, without the call: this is the most frequent step.
local form = sub(value, 1, 1)
local len = (form == '\0' or form == '\1') and 2 or (form == '\2' or form == '\3') and 6
  or (form == '\4' or form == '\5') and 18 or (form == '\6' or form == '\7') and 22 or 0
if len == 0 or #value < len then return -1 end
local previous = sub(head, 20)
if #ARGV == 5 and may_be_performed(head, ARGV[4]) then
  return sub(value, len + 1) == ARGV[2] and repeated(head, tonumber(previous)) or unsure()
end
local sequence = previous + 1
-- Not below the clock, so that a Redis that has lost its last writes does not use a sequence again.
if sequence < now then sequence = now end
local was_newcomer = sub(head, 3, 3) == '\0'
head = sub(head, 1, 2) .. '\1' .. sub(head, 4, 19) .. sequence
-- The first write, because Redis refuses only that when its memory is full.
call('HSET', key, 'm', head, channel, sub(value, 1, len) .. ARGV[2])
if was_newcomer and ARGV[3] ~= '0' then call('PEXPIRE', key, ARGV[3]) end
return head .. ' ' .. previous
