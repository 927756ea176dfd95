-- Remove the users of a dead process. Only the first process that asks gets a result.
-- (prefix, node, ms until a process counts as dead) -> {room, version, room, version ...}
local node = ARGV[2]
local score = redis.call('ZSCORE', P .. 'nodes', node)
if not score or tonumber(score) > now() - ARGV[3] then return {} end
local changed = {}
for _, slug in ipairs(redis.call('SMEMBERS', P .. 'rooms:' .. node)) do
  for _, key in ipairs(keys_of(slug, node)) do drop(slug, node, key) end
  changed[#changed + 1] = slug
  changed[#changed + 1] = next_version(slug)
  update_count(slug)
end
redis.call('DEL', P .. 'rooms:' .. node)
redis.call('ZREM', P .. 'nodes', node)
redis.call('SREM', P .. 'stopped', node)
return changed
