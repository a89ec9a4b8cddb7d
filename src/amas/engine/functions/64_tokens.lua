-- Agents' tokens: hosts ask for them, control planes sign them. The engine carries both ways and holds no secret: what is signed
-- lies here sealed for whoever asked. Blobs are Python's.
-- Keys: P:tokens:asked      list    blobs: what hosts asked for and no control plane has taken yet, at most ASKED_MAX
--       P:tokens:said:<id>  string  an answer, until it is fetched or ANSWER_MS have passed
--       P:tokens:epochs     hash    agent, pool or '*' -> how often its tokens were revoked; counted by `desire`, too, for those who
--                                   are killed or quarantined
--       P:signing           hash    kid -> blob: the public halves of the keys that sign or have signed
--       P:signing:until     hash    kid -> when it signs no more (ms), for those that a rotation ends early
--       P:signing:ended     hash    kid -> when it was ended at once (ms)
-- Channel: P:tokens, rung when there is something to sign.
-- Shares: P:hosts of 00_base.lua.

do
  local ASKED_MAX, ANSWER_MS = 10000, 30000

  -- token_ask: a host wants a token for an agent.  caller: AgentTokens.ask.  ARGV: now, host, blob
  --   returns 1, 0 where the host has no lease, or -1 where ASKED_MAX wait: nobody signs.
  local function token_ask(keys, args)
    begin(keys, args)
    if not call('ZSCORE', P .. ':hosts', args[2]) then return 0 end
    if call('LLEN', P .. ':tokens:asked') >= ASKED_MAX then return -1 end
    call('RPUSH', P .. ':tokens:asked', args[3])
    call('PUBLISH', P .. ':tokens', '')
    return 1
  end

  -- token_take: what is to be signed, each given to one control plane; should that die, the host asks again.
  --   caller: AgentTokens.take.  ARGV: now, how many at most.  returns blobs
  local function token_take(keys, args)
    begin(keys, args)
    return call('LPOP', P .. ':tokens:asked', args[2]) or {}
  end

  -- token_answer: ARGV: now, id of the wish, blob
  local function token_answer(keys, args)
    begin(keys, args)
    call('SET', P .. ':tokens:said:' .. args[2], args[3], 'PX', ANSWER_MS)
  end

  -- token_fetch: ARGV: now, id of the wish.  returns the answer's blob, which is gone then, or '' while there is none
  local function token_fetch(keys, args)
    begin(keys, args)
    local name = P .. ':tokens:said:' .. args[2]
    local blob = call('GET', name)
    if blob then call('DEL', name) end
    return blob or ''
  end

  -- token_revoke: let no token that an agent, a pool or all have count any more.  ARGV: now, name.  returns the epoch that begins
  local function token_revoke(keys, args)
    begin(keys, args)
    return call('HINCRBY', P .. ':tokens:epochs', args[2], 1)
  end

  -- signing_add: publish a key, and forget those that are over.  ARGV: now, kid, blob, then the kids to forget
  local function signing_add(keys, args)
    begin(keys, args)
    for i = 4, #args do
      call('HDEL', P .. ':signing', args[i])
      call('HDEL', P .. ':signing:until', args[i])
      call('HDEL', P .. ':signing:ended', args[i])
    end
    call('HSETNX', P .. ':signing', args[2], args[3])
  end

  -- signing_end: have the keys that sign replaced.  ARGV: now, from when on they sign no more (ms), '1' for at once: then what they
  --   have signed counts no more, either.  returns how many keys that concerns
  local function signing_end(keys, args)
    local now = begin(keys, args)
    local kids = call('HKEYS', P .. ':signing')
    for _, kid in ipairs(kids) do
      local earlier = call('HGET', P .. ':signing:until', kid)
      if not earlier or tonumber(earlier) > tonumber(args[2]) then call('HSET', P .. ':signing:until', kid, args[2]) end
      if args[3] == '1' then call('HSETNX', P .. ':signing:ended', kid, string.format('%d', now)) end
    end
    if args[3] == '1' then call('HINCRBY', P .. ':tokens:epochs', '*', 1) end   -- hosts keep tokens, and go by this
    return #kids
  end

  redis.register_function('amas1_token_ask', token_ask)
  redis.register_function('amas1_token_take', token_take)
  redis.register_function('amas1_token_answer', token_answer)
  redis.register_function('amas1_token_fetch', token_fetch)
  redis.register_function('amas1_token_revoke', token_revoke)
  redis.register_function('amas1_signing_add', signing_add)
  redis.register_function('amas1_signing_end', signing_end)
end
