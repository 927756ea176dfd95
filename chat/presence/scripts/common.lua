-- Functions that every script uses. registry.py puts this text before each script, so a script's locals
-- may use them. Each script runs in Redis as one step that no other client can interleave with.
--
-- ARGV[1] is the prefix of all keys:
--
--   nodes            sorted set: each process, scored with the time of its last heartbeat (Redis's clock, ms). A
--                    score with half a ms more: Redis had forgotten the process, which registered a user
--                    before its next heartbeat.
--   stopped          set: processes that shut down, or are known to have died, during the grace of their users
--   rooms:<node>     set: the rooms in which a process has users
--   here:<room>      hash: "<node> <key>" to the entry, a JSON list (chat.presence.entries.RegistryEntry)
--   holders:<room>   hash: each user's key, with the number of processes where the user is
--   versions         hash: the version of each room. Each change of here:<room> adds 1; the first version is the
--                    time in microseconds.
--   counts           sorted set: the rooms, scored with how many users they have
--   life             a random word. A different one means that Redis lost everything.
local P = ARGV[1]
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function next_version(slug)
  if redis.call('HEXISTS', P .. 'versions', slug) == 1 then
    return redis.call('HINCRBY', P .. 'versions', slug, 1)
  end
  local t = redis.call('TIME')
  local version = t[1] * 1000000 + t[2]
  redis.call('HSET', P .. 'versions', slug, string.format('%.0f', version))
  return version
end
local function count_holder(slug, key, by)
  local holders = P .. 'holders:' .. slug
  if redis.call('HINCRBY', holders, key, by) <= 0 then redis.call('HDEL', holders, key) end
end
-- Update the number of users of a room, after its last change. An empty room leaves nothing behind.
local function update_count(slug)
  local people = redis.call('HLEN', P .. 'holders:' .. slug)
  if people > 0 then
    redis.call('ZADD', P .. 'counts', people, slug)
  else
    redis.call('ZREM', P .. 'counts', slug)
    redis.call('HDEL', P .. 'versions', slug)
  end
end
local function drop(slug, node, key)
  if redis.call('HDEL', P .. 'here:' .. slug, node .. ' ' .. key) == 1 then count_holder(slug, key, -1) end
end
-- Write an entry. Returns false if another user has the name, else the processes the name was taken from.
local function claim(slug, node, key, entry)
  local here, ours = P .. 'here:' .. slug, cjson.decode(entry)
  local taken_from, stale = {}, now() - 3000
  for _, other in ipairs(redis.call('ZRANGE', P .. 'nodes', 0, -1)) do
    local there = redis.call('HGET', here, other .. ' ' .. key)
    if there then
      -- By position, as in RegistryEntry: e[1] identity_key, e[3] lasting, e[6] in_grace.
      local e = cjson.decode(there)
      if e[1] ~= ours[1] then
        -- A guest without a session cannot prove who they are. When they are gone, the next guest to give the
        -- same name counts as their reconnect.
        local gone = e[6] or redis.call('SISMEMBER', P .. 'stopped', other) == 1
          or tonumber(redis.call('ZSCORE', P .. 'nodes', other)) < stale
        if e[3] or ours[3] or not gone then return false end
        taken_from[#taken_from + 1] = other
      end
    end
  end
  for _, other in ipairs(taken_from) do
    if other ~= node then drop(slug, other, key) end
  end
  if redis.call('HSET', here, node .. ' ' .. key, entry) == 1 then count_holder(slug, key, 1) end
  redis.call('SADD', P .. 'rooms:' .. node, slug)
  redis.call('ZADD', P .. 'nodes', 'NX', now() + 0.5, node)
  return taken_from
end
local function keys_of(slug, node)
  local found, start = {}, node .. ' '
  for _, name in ipairs(redis.call('HKEYS', P .. 'here:' .. slug)) do
    if string.sub(name, 1, #start) == start then found[#found + 1] = string.sub(name, #start + 1) end
  end
  return found
end
