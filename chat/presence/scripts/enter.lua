-- Register a user. Empty if another user has the name.
-- (prefix, node, room, key, entry) -> {} or {version, node the name was taken from ...}
local node, slug, key, entry = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local taken_from = claim(slug, node, key, entry)
if not taken_from then return {} end
local version = next_version(slug)
update_count(slug)
return {version, unpack(taken_from)}
