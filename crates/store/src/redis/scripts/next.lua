-- In front of all scripts with the feature `next-format`, for the test of mixed versions: each record gets a field more, and a key
-- beside it, as a next version could have them.
local redis = setmetatable({
  call = function(...)
    local answer = redis.call(...)
    local command, key, field = ...
    if key == KEYS[1] and command == 'HSET' and field == 'm' then
      redis.call('HSET', key, 'next', 'of the next version')
      redis.call('SET', 'x' .. string.sub(key, 2), 'of the next version', 'PX', 600000)
    elseif key == KEYS[1] and command == 'HLEN' then
      answer = answer - redis.call('HEXISTS', key, 'next')
    end
    return answer
  end,
}, { __index = redis })
