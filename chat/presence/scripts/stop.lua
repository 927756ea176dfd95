-- Let a process count as dead after a grace, in which its users may reconnect to another process.
-- (prefix, node, ms until a process counts as dead, ms of grace) -> 0
local node = ARGV[2]
if redis.call('ZSCORE', P .. 'nodes', node) then
  redis.call('ZADD', P .. 'nodes', now() - ARGV[3] + ARGV[4], node)
  redis.call('SADD', P .. 'stopped', node)
end
return 0
