-- Remove a user; `last` is "1" if the process has nobody else in the room. 0 if the user was not registered.
-- (prefix, node, room, key, last) -> version or 0
local node, slug, key, last = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if last == '1' then redis.call('SREM', P .. 'rooms:' .. node, slug) end
if redis.call('HEXISTS', P .. 'here:' .. slug, node .. ' ' .. key) == 0 then return 0 end
drop(slug, node, key)
local version = next_version(slug)
update_count(slug)
return version
