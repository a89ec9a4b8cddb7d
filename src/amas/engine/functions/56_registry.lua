-- Agents that run elsewhere: in other languages, on other machines, behind NAT. Each batch of them is a session, and a session is a
-- host: 50_hosts.lua keeps its lease, the claim and the fence know it by its id, the reaper gives its tasks back. Here is only who
-- the agents are, and an index to find them by.
-- Keys: P:remote:of           hash    agent -> its session
--       P:remote:agents:<s>   hash    agent of session s -> what Python says of it
--       P:remote:facets:<s>   hash    agent of session s -> the facets it is found by, a line each: capability:a.b, layer:x, label:k=v
--       P:remote:by:<facet>   set     agents
--       P:remote:due:<s>      hash    task that session s runs -> attempt, and when it has taken too long (ms), by lines
--       P:remote:token:<s>    string  digest of the session's token, and what opened it; outlives the lease, so that who comes late hears why
--       P:remote:owner:<s>    string  who opened session s, where that is known by name; goes with the session
-- Keeps true: an agent is in the index exactly as long as its session holds its lease, or until the reaper has seen that it doesn't.
--   Nobody takes over what somebody else opened by name, as long as that one lives.
-- Shares: P:hosts and P:r:<host> of 00_base.lua.

do
  local TOKEN_KEPT_MS = 3600000   -- an hour after its end: a laptop that slept is told so

  -- Take agents of a session out of the registry and return how many were in it.
  local function forget(session, ids)
    local facets, gone = key('remote:facets', session), 0
    for _, id in ipairs(ids) do
      local lines = call('HGET', facets, id)
      if lines then
        for facet in string.gmatch(lines, '[^\n]+') do call('SREM', key('remote:by', facet), id) end
        call('HDEL', facets, id)
        call('HDEL', key('remote:agents', session), id)
        call('HDEL', P .. ':remote:of', id)
        gone = gone + 1
      end
    end
    return gone
  end

  -- A session that ends, however it does, takes its agents with it: reap, leave and register go through `release`.
  local give_back = release
  release = function(host, lost)
    if string.sub(host, 1, 7) == 'remote-' then
      forget(host, call('HKEYS', key('remote:agents', host)))
      call('DEL', key('remote:due', host), key('remote:owner', host))
      call('PEXPIRE', key('remote:token', host), TOKEN_KEPT_MS)
    end
    return give_back(host, lost)
  end

  -- enrol: make agents of a session known, all or none.  caller: AgentRegistry.enrol.
  --   ARGV: now, session, digest of its token, '1' to take agents over from other sessions, batch [[agent, facets by lines, card]...],
  --         who opens it ('' nobody by name, '*' the fleet's administrator), the most agents that there may be (0 for no bound)
  --   returns [] | ['lost'] when the session holds no lease | ['full', how many there are] | [agent, session] for the first that
  --   another live session has.
  --   Saying the same again replaces what was said before. What another session runs by an agent that is taken over stays its own:
  --   the fence, not the registry, decides about tasks.  cost: O(agents * facets).
  local function enrol(keys, args)
    local now = begin(keys, args)
    local session, batch, owner, most = args[2], cmsgpack.unpack(args[5]), args[6] or '', tonumber(args[7] or '0')
    if not call('ZSCORE', P .. ':hosts', session) then return {'lost'} end
    local new = 0
    for _, each in ipairs(batch) do
      local other = call('HGET', P .. ':remote:of', each[1])
      if not other then new = new + 1 end
      local opened = other and other ~= session and owner ~= '*' and call('GET', key('remote:owner', other))
      local may = args[4] == '1' and (not opened or opened == owner)
      local lease = other and other ~= session and not may and tonumber(call('ZSCORE', P .. ':hosts', other) or '0')
      if lease and lease >= now then return {each[1], other} end
    end
    local held = call('HLEN', P .. ':remote:of')
    if most > 0 and new > 0 and held + new > most then return {'full', tostring(held)} end
    if args[3] ~= '' then call('SET', key('remote:token', session), args[3]) end
    if owner ~= '' and owner ~= '*' then call('SET', key('remote:owner', session), owner) end
    for _, each in ipairs(batch) do
      local id, facets = each[1], each[2]
      local other = call('HGET', P .. ':remote:of', id)
      if other then forget(other, {id}) end
      call('HSET', P .. ':remote:of', id, session)
      call('HSET', key('remote:agents', session), id, each[3])
      call('HSET', key('remote:facets', session), id, facets)
      for facet in string.gmatch(facets, '[^\n]+') do call('SADD', key('remote:by', facet), id) end
    end
    return {}
  end

  -- withdraw: a session has some of its agents no more.  caller: AgentRegistry.withdraw.  ARGV: now, session, agents
  --   returns how many it had. What they run goes on until it ends or is given back.
  local function withdraw(keys, args)
    begin(keys, args)
    return forget(args[2], cmsgpack.unpack(args[3]))
  end

  -- time: note how long attempts may take that a session was handed.  caller: AgentRegistry.time.
  --   ARGV: now, session, batch [[task, attempt, ms from now]...]
  local function time(keys, args)
    local now = begin(keys, args)
    for _, each in ipairs(cmsgpack.unpack(args[3])) do
      call('HSET', key('remote:due', args[2]), each[1], string.format('%d\n%d', each[2], now + each[3]))
    end
  end

  -- overdue: which attempts of a session have taken too long.  caller: AgentRegistry.overdue, with every sign of life.
  --   ARGV: now, session.  returns [task, attempt...].  What the session runs no more is forgotten.  cost: O(tasks it runs)
  local function overdue(keys, args)
    local now, late = begin(keys, args), {}
    local due = call('HGETALL', key('remote:due', args[2]))
    for i = 1, #due, 2 do
      local attempt, at = string.match(due[i + 1], '^(%d+)\n(%d+)$')
      if call('HEXISTS', key('r', args[2]), due[i]) == 0 then
        call('HDEL', key('remote:due', args[2]), due[i])
      elseif tonumber(at) <= now then
        late[#late + 1] = due[i]
        late[#late + 1] = tonumber(attempt)
      end
    end
    return late
  end

  redis.register_function('amas1_time', time)
  redis.register_function('amas1_overdue', overdue)
  redis.register_function('amas1_enrol', enrol)
  redis.register_function('amas1_withdraw', withdraw)
end
