-- Which keys payloads are sealed with (amas/sealing.py): their ids, never a key. Payloads themselves are Python's, sealed or not.
-- Keys: P:seal   hash   a key's id -> when a process first sealed with it (ms); not there where nothing was ever sealed

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

  redis.register_function('amas1_seal_agree', seal_agree)
  redis.register_function('amas1_seal_retire', seal_retire)
end
