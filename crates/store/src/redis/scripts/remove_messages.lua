-- KEYS: 1 messages, 2 topics  ARGV: fields of messages
-- A message without a topic needs no script. By now another message may have the topic.
for _, field in ipairs(ARGV) do
  redis.call('HDEL', KEYS[1], field)
  local name, topic = string.sub(field, 1, 22), string.sub(field, 23)
  if topic ~= '' and redis.call('HGET', KEYS[2], topic) == name then redis.call('HDEL', KEYS[2], topic) end
end
return 0
