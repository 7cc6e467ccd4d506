-- Shared by the scripts that change what others rely on. The last argument is the deadline of the step: the time at which
-- its caller gives up, by the clock of this Redis, in ms since the Unix epoch. A step that comes later changes nothing.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now >= ARGV[#ARGV] + 0 then return redis.error_reply('LATE ' .. now) end
