-- Record a heartbeat. `known` is 1 if Redis has the process with all its users.
-- (prefix, node, ms until a process counts as dead, random word) -> {known, life, dead node ...}
local node, time = ARGV[2], now()
local score = redis.call('ZSCORE', P .. 'nodes', node)
local known = score and tonumber(score) % 1 == 0 and 1 or 0
if redis.call('EXISTS', P .. 'life') == 0 then redis.call('SET', P .. 'life', ARGV[4]) end
redis.call('ZADD', P .. 'nodes', time, node)
redis.call('SREM', P .. 'stopped', node)
local dead = redis.call('ZRANGEBYSCORE', P .. 'nodes', '-inf', time - ARGV[3])
return {known, redis.call('GET', P .. 'life'), unpack(dead)}
