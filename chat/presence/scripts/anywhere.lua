-- Is a user in any room?
-- (prefix, key) -> 1 or 0
for _, slug in ipairs(redis.call('ZRANGE', P .. 'counts', 0, -1)) do
  if redis.call('HEXISTS', P .. 'holders:' .. slug, ARGV[2]) == 1 then return 1 end
end
return 0
