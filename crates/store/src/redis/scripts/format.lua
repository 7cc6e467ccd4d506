-- Shared by the scripts that compare the format: what does not fit, or false. Notes what is not there yet.
local function misfit(key, version, uaid_key)
  local found = redis.call('HMGET', key, 'version', 'uaid-key')
  if found[1] and found[1] ~= version then return { 'version', found[1] } end
  if found[2] and uaid_key ~= '' and found[2] ~= uaid_key then return { 'uaid-key', found[2] } end
  if not found[1] then redis.call('HSET', key, 'version', version) end
  if not found[2] and uaid_key ~= '' then redis.call('HSET', key, 'uaid-key', uaid_key) end
  return false
end
