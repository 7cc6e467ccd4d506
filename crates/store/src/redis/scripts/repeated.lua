-- Shared by the scripts that must not be performed twice. One whose answer was lost is called again with the time of the clock
-- of this Redis, in ms since the Unix epoch, at which it was called first, or somewhat earlier.

-- Whether there was a write since then. No sequence is behind the clock at its write.
local function may_be_performed(head, since) return tonumber(string.sub(head, 20)) >= tonumber(since) end

-- The answer to a step that has been performed by this write. Which write was before it is not known any more.
local function repeated(head, sequence)
  return string.format('%s%.0f %.0f', string.sub(head, 1, 19), sequence, sequence - 1)
end

-- The client may have acknowledged it meanwhile, or another write may have taken its place.
local function unsure() return redis.error_reply('UNSURE the answer was lost, and there was a write since') end
