-- Replace all entries of one process in a room. Returns the keys whose name another user has now.
-- (prefix, node, room, key, entry, key, entry ...) -> {version, refused key ...}
local node, slug = ARGV[2], ARGV[3]
local wanted, refused = {}, {}
for i = 4, #ARGV, 2 do wanted[ARGV[i]] = true end
for _, key in ipairs(keys_of(slug, node)) do
  if not wanted[key] then drop(slug, node, key) end
end
redis.call('SREM', P .. 'rooms:' .. node, slug)
for i = 4, #ARGV, 2 do
  if not claim(slug, node, ARGV[i], ARGV[i + 1]) then
    drop(slug, node, ARGV[i])
    refused[#refused + 1] = ARGV[i]
  end
end
local version = next_version(slug)
update_count(slug)
return {version, unpack(refused)}
