-- Requests that are to be done once, though they may be sent again. What submits tasks does this within its own call: 10_submit.lua.
-- Shares: P:idem:<key> of 00_base.lua: digest of the body; answer, the first one, once there is one. Without it the first is
--         under way.

do
  -- once_begin: begin what stands under a key.  caller: Once.begin.  ARGV: key, digest, ms that it may take
  --   returns {'ok'}, {'seen', the first answer}, {'busy'} while the first is under way, or {'conflict'} for another body.
  --   Keeps true: one that dies under way leaves its key after that time.
  local function once_begin(keys, args)
    local name = keys[1] .. ':idem:' .. args[1]
    local seen = redis.call('HMGET', name, 'digest', 'answer')
    if seen[1] and seen[1] ~= args[2] then return {'conflict'} end
    if seen[2] then return {'seen', seen[2]} end
    if seen[1] then return {'busy'} end
    redis.call('HSET', name, 'digest', args[2])
    redis.call('PEXPIRE', name, args[3])
    return {'ok'}
  end

  -- once_renew: let what is under way take longer.  caller: Once.renew.  ARGV: key, digest, ms that it may take from now on
  --   returns 1, or 0 where there is nothing under way under this key, or it is answered.
  local function once_renew(keys, args)
    local name = keys[1] .. ':idem:' .. args[1]
    local seen = redis.call('HMGET', name, 'digest', 'answer')
    if seen[1] ~= args[2] or seen[2] then return 0 end
    return redis.call('PEXPIRE', name, args[3])
  end

  -- once_end: keep the answer, or leave the key to the next try.  caller: Once.end.
  --   ARGV: key, digest, answer ('' to leave it), ms that it is kept
  local function once_end(keys, args)
    local name = keys[1] .. ':idem:' .. args[1]
    if redis.call('HGET', name, 'digest') ~= args[2] then return 0 end
    if args[3] == '' then return redis.call('DEL', name) end
    redis.call('HSET', name, 'answer', args[3])
    return redis.call('PEXPIRE', name, args[4])
  end

  redis.register_function('amas1_once_begin', once_begin)
  redis.register_function('amas1_once_renew', once_renew)
  redis.register_function('amas1_once_end', once_end)
end
