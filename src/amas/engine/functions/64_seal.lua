-- Which keys payloads are sealed with (amas/sealing.py): their ids, never a key. Payloads themselves are Python's, sealed or not.
-- Keys: P:seal      hash   a key's id -> when a process first sealed with it (ms); not there where nothing was ever sealed
--       P:seal:by   hash   a host or control plane -> the id of the key that it seals with, and until when that is known (ms), by lines

do
  -- seal_agree: tell of a process's keys.  caller: SealKeys.agree.  ARGV: now, the id of the key that it seals with or '', all its keys' ids...
  --   returns the id of a key that payloads are sealed with and the process lacks: then nothing was changed; '' where it has all.
  local function seal_agree(keys, args)
    local name, given = keys[1] .. ':seal', {}
    for i = 3, #args do given[args[i]] = true end
    for _, id in ipairs(redis.call('HKEYS', name)) do
      if not given[id] then return id end
    end
    if args[2] ~= '' then redis.call('HSETNX', name, args[2], args[1]) end
    return ''
  end

  -- seal_retire: forget a key with which nothing is sealed any more.  caller: SealKeys.retire.  ARGV: its id
  local function seal_retire(keys, args)
    return redis.call('HDEL', keys[1] .. ':seal', args[1])
  end

  -- seal_here: a process that lives on seals with a key.  caller: SealKeys.stay, every few seconds.
  --   ARGV: now, ms that this is known for, the process, the key's id.  A key that was retired meanwhile is needed again.
  local function seal_here(keys, args)
    redis.call('HSETNX', keys[1] .. ':seal', args[4], args[1])
    return redis.call('HSET', keys[1] .. ':seal:by', args[3], string.format('%s\n%d', args[4], args[1] + args[2]))
  end

  -- seal_gone: a process ends.  caller: SealKeys.stay.  ARGV: the process
  local function seal_gone(keys, args)
    return redis.call('HDEL', keys[1] .. ':seal:by', args[1])
  end

  -- seal_users: who seals with which key.  caller: SealKeys.users.  ARGV: now
  --   returns [process, key id...]; who hasn't said so lately is forgotten.  cost: O(processes)
  local function seal_users(keys, args)
    local name, users = keys[1] .. ':seal:by', {}
    local held = redis.call('HGETALL', name)
    for i = 1, #held, 2 do
      local id, ends = string.match(held[i + 1], '^(%x+)\n(%d+)$')
      if tonumber(ends) <= tonumber(args[1]) then
        redis.call('HDEL', name, held[i])
      else
        users[#users + 1] = held[i]
        users[#users + 1] = id
      end
    end
    return users
  end

  redis.register_function('amas1_seal_here', seal_here)
  redis.register_function('amas1_seal_gone', seal_gone)
  redis.register_function('amas1_seal_users', seal_users)
  redis.register_function('amas1_seal_agree', seal_agree)
  redis.register_function('amas1_seal_retire', seal_retire)
end
