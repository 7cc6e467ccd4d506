-- Shared by the scripts that compare with the time and change nothing that others rely on.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
