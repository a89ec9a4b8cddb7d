-- Who may call the control plane: API keys, and browsers that have signed in. Blobs are Python's; no secret is in them.
-- Keys: P:keys          hash    prefix -> blob: every key that was ever made, the newest KEYS_MAX
--       P:keys:revoked  hash    prefix -> when it was revoked (ms)
--       P:web:<digest>  string  a browser's session -> blob, until it expires

do
  local KEYS_MAX = 10000

  -- key_add: keep a new key.  caller: ApiKeys.add.  ARGV: prefix, blob
  --   returns 1, 0 where the prefix is taken, or -1 where KEYS_MAX are kept: a revoked key isn't forgotten, or the door that the
  --   first one closed would open again.
  local function key_add(keys, args)
    local name = keys[1] .. ':keys'
    if redis.call('HLEN', name) >= KEYS_MAX then return -1 end
    return redis.call('HSETNX', name, args[1], args[2])
  end

  -- key_revoke: let a key open nothing from now on.  caller: ApiKeys.revoke.  ARGV: prefix, now
  --   returns 1, or 0 where there is no such key; one that was revoked before keeps its time.
  local function key_revoke(keys, args)
    if redis.call('HEXISTS', keys[1] .. ':keys', args[1]) == 0 then return 0 end
    redis.call('HSETNX', keys[1] .. ':keys:revoked', args[1], args[2])
    return 1
  end

  -- web_open: keep a browser's session.  caller: WebSessions.open.  ARGV: digest, blob, ms until it expires
  local function web_open(keys, args)
    redis.call('SET', keys[1] .. ':web:' .. args[1], args[2], 'PX', args[3])
  end

  -- web_close: end a browser's session.  caller: WebSessions.close.  ARGV: digest; returns 1, or 0 where there was none
  local function web_close(keys, args)
    return redis.call('DEL', keys[1] .. ':web:' .. args[1])
  end

  redis.register_function('amas1_key_add', key_add)
  redis.register_function('amas1_key_revoke', key_revoke)
  redis.register_function('amas1_web_open', web_open)
  redis.register_function('amas1_web_close', web_close)
end
