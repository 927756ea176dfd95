-- Read a room.
-- (prefix, room) -> {life, version, {"<node> <key>", entry, "<node> <key>", entry ...}}
return {redis.call('GET', P .. 'life') or '', redis.call('HGET', P .. 'versions', ARGV[2]) or 0,
  redis.call('HGETALL', P .. 'here:' .. ARGV[2])}
