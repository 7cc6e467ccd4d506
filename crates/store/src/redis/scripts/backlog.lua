-- Shared by the scripts that hand out messages: those behind a position, at most so many of them. Answers whether
-- others are behind them, and of each its topic or '', its sequence, the ms that it has left, and itself; false if
-- this version cannot read one. The fields of those that have expired are added to `expired`.
local function backlog(after, max, expired)
  table.sort(positions)
  local answer, count, next = { 0 }, 0, 1
  while next <= #positions and positions[next] <= after do next = next + 1 end
  while count < max and next <= #positions do
    local first, keys = next, {}
    next = math.min(first + math.min(max - count, 1000), #positions + 1)
    for i = first, next - 1 do keys[#keys + 1] = messages_key .. field_at[positions[i]] end
    local found = redis.call('MGET', KEYS[1], unpack(keys))
    for i = 1, #keys do
      local message, field = found[i + 1], field_at[positions[first + i - 1]]
      -- A key expires when its time is over, a message one millisecond earlier: with the last one.
      local left = message and redis.call('PTTL', keys[i]) + 1 or 0
      if left <= 0 then
        expired[#expired + 1] = field
      else
        if string.byte(message, 1) ~= 1 or #message < 20 then return false end
        local topic = #field == 13 and string.sub(field, 2) or ''
        local at = #answer
        answer[at + 1], answer[at + 2] = topic, string.format('%.0f', positions[first + i - 1] % 2^52)
        answer[at + 3], answer[at + 4] = left, message
        count = count + 1
      end
    end
  end
  if count > 0 and next <= #positions then answer[1] = 1 end
  return answer
end
