"""What the registry does in Redis, each in one step that nobody can come between.

The keys, all with the prefix that the first argument is:

    nodes            sorted set: each process, with the time of its last beat (Redis's own clock, ms); with half a
                     ms more one that had been forgotten, and entered somebody before its next beat
    stopped          set: processes that said goodbye, or are known to have died, and are kept for a grace
    rooms:<node>     set: the rooms in which a process has somebody
    here:<room>      hash: "<node> <key>" to the entry, a JSON list (chat.presence.state.Entry)
    holders:<room>   hash: each key, and in how many processes
    versions         hash: how often each room's ``here`` was changed, beginning at the time in microseconds
    counts           sorted set: the rooms by how many people
    life             a random word: another one means that Redis lost everything
"""

COMMON = """
local P = ARGV[1]
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function bump(slug)
  if redis.call('HEXISTS', P .. 'versions', slug) == 1 then
    return redis.call('HINCRBY', P .. 'versions', slug, 1)
  end
  local t = redis.call('TIME')
  local version = t[1] * 1000000 + t[2]
  redis.call('HSET', P .. 'versions', slug, string.format('%.0f', version))
  return version
end
local function hold(slug, key, by)
  local holders = P .. 'holders:' .. slug
  if redis.call('HINCRBY', holders, key, by) <= 0 then redis.call('HDEL', holders, key) end
end
-- After the last change of a room: how many are in it; one in which nobody is leaves nothing.
local function counted(slug)
  local people = redis.call('HLEN', P .. 'holders:' .. slug)
  if people > 0 then
    redis.call('ZADD', P .. 'counts', people, slug)
  else
    redis.call('ZREM', P .. 'counts', slug)
    redis.call('HDEL', P .. 'versions', slug)
  end
end
local function drop(slug, node, key)
  if redis.call('HDEL', P .. 'here:' .. slug, node .. ' ' .. key) == 1 then hold(slug, key, -1) end
end
-- Puts an entry there. Returns false where somebody else has the name, else the processes from which it was taken.
local function claim(slug, node, key, entry)
  local here, mine = P .. 'here:' .. slug, cjson.decode(entry)
  local took, stale = {}, now() - 3000
  for _, other in ipairs(redis.call('ZRANGE', P .. 'nodes', 0, -1)) do
    local there = redis.call('HGET', here, other .. ' ' .. key)
    if there then
      local e = cjson.decode(there)
      if e[1] ~= mine[1] then
        -- Nobody can prove to be one who only said a name: who says it when that one is gone is taken for them.
        local gone = e[6] or redis.call('SISMEMBER', P .. 'stopped', other) == 1
          or tonumber(redis.call('ZSCORE', P .. 'nodes', other)) < stale
        if e[3] or mine[3] or not gone then return false end
        took[#took + 1] = other
      end
    end
  end
  for _, other in ipairs(took) do
    if other ~= node then drop(slug, other, key) end
  end
  if redis.call('HSET', here, node .. ' ' .. key, entry) == 1 then hold(slug, key, 1) end
  redis.call('SADD', P .. 'rooms:' .. node, slug)
  redis.call('ZADD', P .. 'nodes', 'NX', now() + 0.5, node)
  return took
end
local function keys_of(slug, node)
  local found, start = {}, node .. ' '
  for _, name in ipairs(redis.call('HKEYS', P .. 'here:' .. slug)) do
    if string.sub(name, 1, #start) == start then found[#found + 1] = string.sub(name, #start + 1) end
  end
  return found
end
"""

ENTER = """
local node, slug, key, entry = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local took = claim(slug, node, key, entry)
if not took then return {} end
local version = bump(slug)
counted(slug)
return {version, unpack(took)}
"""
"""(prefix, node, room, key, entry) -> nothing where the name is taken, else [version, taken from ...]"""

EXIT = """
local node, slug, key, last = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if last == '1' then redis.call('SREM', P .. 'rooms:' .. node, slug) end
if redis.call('HEXISTS', P .. 'here:' .. slug, node .. ' ' .. key) == 0 then return 0 end
drop(slug, node, key)
local version = bump(slug)
counted(slug)
return version
"""
"""(prefix, node, room, key, "1" where it was the process's last) -> version, 0 where nothing was there"""

READ = """
return {redis.call('GET', P .. 'life') or '', redis.call('HGET', P .. 'versions', ARGV[2]) or 0,
  redis.call('HGETALL', P .. 'here:' .. ARGV[2])}
"""
"""(prefix, room) -> [life, version, [name, entry, name, entry ...]]"""

RESYNC = """
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
local version = bump(slug)
counted(slug)
return {version, unpack(refused)}
"""
"""(prefix, node, room, key, entry, key, entry ...) -> [version, keys whose name somebody else has now]"""

BEAT = """
local node, time = ARGV[2], now()
local score = redis.call('ZSCORE', P .. 'nodes', node)
local known = score and tonumber(score) % 1 == 0 and 1 or 0
if redis.call('EXISTS', P .. 'life') == 0 then redis.call('SET', P .. 'life', ARGV[4]) end
redis.call('ZADD', P .. 'nodes', time, node)
redis.call('SREM', P .. 'stopped', node)
local dead = redis.call('ZRANGEBYSCORE', P .. 'nodes', '-inf', time - ARGV[3])
return {known, redis.call('GET', P .. 'life'), unpack(dead)}
"""
"""(prefix, node, ms after which one is dead, a random word) -> [1 if it was known, life, the dead ...]"""

EVICT = """
local node = ARGV[2]
local score = redis.call('ZSCORE', P .. 'nodes', node)
if not score or tonumber(score) > now() - ARGV[3] then return {} end
local changed = {}
for _, slug in ipairs(redis.call('SMEMBERS', P .. 'rooms:' .. node)) do
  for _, key in ipairs(keys_of(slug, node)) do drop(slug, node, key) end
  changed[#changed + 1] = slug
  changed[#changed + 1] = bump(slug)
  counted(slug)
end
redis.call('DEL', P .. 'rooms:' .. node)
redis.call('ZREM', P .. 'nodes', node)
redis.call('SREM', P .. 'stopped', node)
return changed
"""
"""(prefix, node, ms after which one is dead) -> [room, version, room, version ...]: once, to who asks first"""

STOP = """
local node = ARGV[2]
if redis.call('ZSCORE', P .. 'nodes', node) then
  redis.call('ZADD', P .. 'nodes', now() - ARGV[3] + ARGV[4], node)
  redis.call('SADD', P .. 'stopped', node)
end
return 0
"""
"""(prefix, node, ms after which one is dead, ms that its people have to come back elsewhere) -> 0"""
