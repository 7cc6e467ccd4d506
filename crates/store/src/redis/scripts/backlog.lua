-- Shared by the scripts that return messages: up to `max` of those behind a position. Returns whether there are more
-- behind them, and for each message its topic or '', its sequence, the ms that are left, and the message; false if this
-- version cannot read one. The fields of messages that have expired are added to `expired`.
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
      -- The key was given a millisecond less than the TTL (`put_call`).
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
