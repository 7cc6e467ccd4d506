-- Shared by the scripts that return messages: up to `max` of those behind a position. Returns whether there are more
-- behind them, and for each message its field, the ms that are left, and the message; false if this version cannot read
-- one. Those that are not good any more are added to `gone`.
local function backlog(after, max, gone)
  local count = redis.call('HLEN', messages)
  local sorted, next, field_at = nil, 1, {}
  if count <= UNINDEXED_MAX then
    redis.call('DEL', index)
    sorted = {}
    for i, field in ipairs(redis.call('HKEYS', messages)) do
      sorted[i] = position(field)
      field_at[sorted[i]] = field
    end
    table.sort(sorted)
    while next <= count and sorted[next] <= after do next = next + 1 end
  elseif redis.call('ZCARD', index) < count then
    make_index()
  end
  -- The next fields behind `after`.
  local function take(len)
    if sorted then
      local taken = {}
      for i = next, math.min(next + len - 1, count) do taken[#taken + 1] = field_at[sorted[i]] end
      next = next + #taken
      return taken
    end
    local behind = string.format('(%.0f', after)
    local taken = redis.call('ZRANGEBYSCORE', index, behind, '+inf', 'LIMIT', 0, len)
    if #taken > 0 then after = position(taken[#taken]) end
    return taken
  end
  local answer, found = { 0 }, 0
  while found < max do
    local fields = take(math.min(max - found, 1000))
    if #fields == 0 then return answer end
    local values = redis.call('HMGET', messages, unpack(fields))
    for i, field in ipairs(fields) do
      local good, start = false, nil
      if values[i] then
        good, start = is_good(field, values[i])
        if good == nil then return false end
      end
      if good then
        local at = #answer
        answer[at + 1] = field
        answer[at + 2] = tonumber(string.sub(values[i], 1, start - 1)) - now
        answer[at + 3] = string.sub(values[i], start)
        found = found + 1
      else
        -- It is in the index only, expired, or its channel is gone.
        gone[#gone + 1] = field
      end
    end
  end
  if #take(1) > 0 then answer[1] = 1 end
  return answer
end
