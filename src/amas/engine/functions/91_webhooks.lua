-- Webhooks: who is told of ends, and what each hasn't got yet. Blobs are Python's.
-- Keys: P:hooks             hash    id -> blob: what was registered
--       P:hooks:of:<tenant> set     ids of a tenant's ('' for those of nobody's)
--       P:hook:<id>         hash    at: the journal's entry up to which its events were taken; told, dropped: counters; failing: since
--                                   when all posts fail (ms); error: why; last: when it got something; disabled: since when
--       P:hook:due:<id>     zset    ids of events that it hasn't got, by the time of the next try
--       P:hook:ev:<id>      hash    id of an event -> blob, for these
--       P:hook:lost:<id>    zset    ids of events that were given up, by when: the newest LOST_MAX
--       P:hook:lv:<id>      hash    id of an event -> blob, for these
--       P:hook:asked:<id>   set     approvals that wait and were told of
-- Channel: P:hooks (an id), when something is to be done at once.
-- A hook that was removed meanwhile is left alone by all of these: none makes a key for it.

do
  local LOST_MAX = 1000

  local function names(keys, id)
    local function of(kind) return keys[1] .. ':hook:' .. kind .. ':' .. id end
    return keys[1] .. ':hook:' .. id, of
  end

  local function ring(keys, id) redis.call('PUBLISH', keys[1] .. ':hooks', id) end

  local function queue(of, now, event, blob)
    redis.call('ZADD', of('due'), 'NX', now, event)
    redis.call('HSET', of('ev'), event, blob)
  end

  -- hook_add: keep a new hook.  caller: Hooks.add.
  --   ARGV: id, blob, tenant, the entry after which it hears, most of a tenant (0 for any), most of all
  --   returns 1, or 0 where there are too many.
  local function hook_add(keys, args)
    local all, own = keys[1] .. ':hooks', keys[1] .. ':hooks:of:' .. args[3]
    if redis.call('HLEN', all) >= tonumber(args[6]) then return 0 end
    if tonumber(args[5]) > 0 and redis.call('SCARD', own) >= tonumber(args[5]) then return 0 end
    redis.call('HSET', all, args[1], args[2])
    redis.call('SADD', own, args[1])
    redis.call('HSET', keys[1] .. ':hook:' .. args[1], 'at', args[4])
    ring(keys, args[1])
    return 1
  end

  -- hook_drop: forget a hook and all that was to be told to it.  caller: Hooks.drop.  ARGV: id, tenant; returns 1, or 0.
  local function hook_drop(keys, args)
    local state, of = names(keys, args[1])
    redis.call('SREM', keys[1] .. ':hooks:of:' .. args[2], args[1])
    redis.call('DEL', state, of('due'), of('ev'), of('lost'), of('lv'), of('asked'))
    return redis.call('HDEL', keys[1] .. ':hooks', args[1])
  end

  -- hook_take: let a hook's place in the journal be another one, and have it told what it hears of on the way.  caller: Hooks.take.
  --   ARGV: id, the place where it must stand, the place where it is to stand, now, then for each event its id and blob
  --   returns 1, or 0 where it stands elsewhere or is gone, and then nothing was done: so that of two leaders one takes.
  local function hook_take(keys, args)
    local state, of = names(keys, args[1])
    if redis.call('HGET', state, 'at') ~= args[2] then return 0 end
    redis.call('HSET', state, 'at', args[3])
    for i = 5, #args, 2 do queue(of, args[4], args[i], args[i + 1]) end
    return 1
  end

  -- hook_asked: have a hook told of approvals that it wasn't told of yet.  caller: Hooks.asked.
  --   ARGV: id, now, then for each approval that waits now its task, an event's id and blob
  --   Keeps true: each is told once for as long as it waits; one that is asked anew later is told anew.
  local function hook_asked(keys, args)
    local state, of = names(keys, args[1])
    if redis.call('EXISTS', state) == 0 then return 0 end
    local before, count = {}, 0
    for _, id in ipairs(redis.call('SMEMBERS', of('asked'))) do before[id] = true end
    redis.call('DEL', of('asked'))
    for i = 3, #args, 3 do
      redis.call('SADD', of('asked'), args[i])
      if not before[args[i]] then
        queue(of, args[2], args[i + 1], args[i + 2])
        count = count + 1
      end
    end
    return count
  end

  -- hook_test: have a hook told something beside the journal, now.  caller: Hooks.tell.  ARGV: id, now, event, blob; returns 1, or 0.
  local function hook_test(keys, args)
    local state, of = names(keys, args[1])
    if redis.call('EXISTS', state) == 0 then return 0 end
    queue(of, args[2], args[3], args[4])
    ring(keys, args[1])
    return 1
  end

  -- hook_got: a hook has got an event.  caller: Hooks.got.  ARGV: id, event, now
  local function hook_got(keys, args)
    local state, of = names(keys, args[1])
    if redis.call('ZREM', of('due'), args[2]) == 0 then return 0 end
    redis.call('HDEL', of('ev'), args[2])
    redis.call('HINCRBY', state, 'told', 1)
    redis.call('HSET', state, 'last', args[3])
    redis.call('HDEL', state, 'failing', 'error')
    return 1
  end

  -- hook_failed: a hook hasn't got an event.  caller: Hooks.failed.
  --   ARGV: id, event, now, why, blob, when it is tried again (ms; 0: it is given up), whether the hook is to be disabled (0 or 1)
  local function hook_failed(keys, args)
    local state, of = names(keys, args[1])
    if not redis.call('ZSCORE', of('due'), args[2]) then return 0 end
    redis.call('HSETNX', state, 'failing', args[3])
    redis.call('HSET', state, 'error', args[4])
    if args[7] == '1' then redis.call('HSETNX', state, 'disabled', args[3]) end
    if args[6] ~= '0' then
      redis.call('ZADD', of('due'), args[6], args[2])
      redis.call('HSET', of('ev'), args[2], args[5])
      return 1
    end
    redis.call('ZREM', of('due'), args[2])
    redis.call('HDEL', of('ev'), args[2])
    redis.call('ZADD', of('lost'), args[3], args[2])
    redis.call('HSET', of('lv'), args[2], args[5])
    for _, old in ipairs(redis.call('ZRANGE', of('lost'), 0, redis.call('ZCARD', of('lost')) - LOST_MAX - 1)) do
      redis.call('ZREM', of('lost'), old)
      redis.call('HDEL', of('lv'), old)
      redis.call('HINCRBY', state, 'dropped', 1)
    end
    return 1
  end

  -- hook_enable: let a hook that was disabled be told again, what waits for it at once.  caller: Hooks.enable.  ARGV: id, now
  --   returns 1, or 0 where there is no such hook.
  local function hook_enable(keys, args)
    local state, of = names(keys, args[1])
    if redis.call('EXISTS', state) == 0 then return 0 end
    redis.call('HDEL', state, 'disabled', 'failing', 'error')
    for _, event in ipairs(redis.call('ZRANGE', of('due'), 0, -1)) do redis.call('ZADD', of('due'), args[2], event) end
    ring(keys, args[1])
    return 1
  end

  -- hook_again: try events anew that were given up.  caller: Hooks.again.  ARGV: id, now, then for each event its id and blob
  --   returns how many; those that aren't among the given-up ones are passed over.
  local function hook_again(keys, args)
    local _, of = names(keys, args[1])
    local count = 0
    for i = 3, #args, 2 do
      if redis.call('ZREM', of('lost'), args[i]) == 1 then
        redis.call('HDEL', of('lv'), args[i])
        queue(of, args[2], args[i], args[i + 1])
        count = count + 1
      end
    end
    ring(keys, args[1])
    return count
  end

  redis.register_function('amas1_hook_add', hook_add)
  redis.register_function('amas1_hook_drop', hook_drop)
  redis.register_function('amas1_hook_take', hook_take)
  redis.register_function('amas1_hook_asked', hook_asked)
  redis.register_function('amas1_hook_test', hook_test)
  redis.register_function('amas1_hook_got', hook_got)
  redis.register_function('amas1_hook_failed', hook_failed)
  redis.register_function('amas1_hook_enable', hook_enable)
  redis.register_function('amas1_hook_again', hook_again)
end
