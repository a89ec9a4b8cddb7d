-- The kill switch: agents, pools or the whole fleet that get nothing, and lose at once what they have.
-- Keys: P:killed   set   agents' ids, pools' names, '*' for the fleet; kept by `desire` together with the wishes that say so
-- Channel: P:host:<host> of 00_base.lua, a line `<task> <attempt>` for each attempt to stop; what it says afterwards the fence
--          refuses.
-- Shares: P:bell, P:hosts, P:queues, P:r:<host> and P:t:<id> of 00_base.lua.

do
  -- Return what says whether an agent is killed: by its id, its pool (a roll-out's variants count to it), or all are.
  local function judge()
    local named, known = {}, {}
    for _, name in ipairs(call('SMEMBERS', P .. ':killed')) do named[name] = true end
    return function(agent)
      if known[agent] == nil then
        local pool = string.match(agent, '^(.*)%-[^-]*$') or ''
        known[agent] = named['*'] or named[agent] or named[pool] or named[string.match(pool, '^[^~]*')] or false
      end
      return known[agent]
    end
  end

  -- Return what says whether an agent is killed, nil while none is: all that the switch costs who doesn't use it.
  function healing.killed()
    return call('EXISTS', P .. ':killed') == 1 and judge() or nil
  end

  -- Return those of a claim's agents that aren't killed.
  function healing.spared(killed, agents)
    local spared = {}
    for _, agent in ipairs(agents) do
      if not killed(agent) then spared[#spared + 1] = agent end
    end
    return spared
  end

  -- running -> queued, what killed agents run: as far as the budget goes, the rest is a chore. They get nothing new, so it ends.
  function healing.stop_killed()
    local killed = healing.killed()
    for _, host in ipairs(killed and call('ZRANGE', P .. ':hosts', 0, -1) or {}) do
      if R.budget <= 0 then return chore('kill', '') end
      local running, stops = call('HGETALL', key('r', host)), {}
      for i = 1, #running, 2 do
        local task = R.budget > 0 and killed(running[i + 1]) and load(running[i])
        if task and task.s == 'running' and task.h == host then
          if task.V then resources.settle(task) end
          call('HSET', key('t', task.id), 's', 'queued')
          let_go(task)
          ready_again(task)
          effect(task.id, 'queued')
          stops[#stops + 1] = task.id .. ' ' .. task.a
          R.budget = R.budget - 1
        end
      end
      if stops[1] then call('PUBLISH', key('host', host), table.concat(stops, '\n')) end
    end
    if R.budget <= 0 then chore('kill', '') end
  end

  -- What a change of the desired state means for the switch: `thrown` and `lifted` are names.
  function healing.switch(thrown, lifted)
    local name = P .. ':killed'
    if lifted[1] then
      call('SREM', name, unpack(lifted))
      local queues = call('SMEMBERS', P .. ':queues')
      if queues[1] then call('PUBLISH', P .. ':bell', table.concat(queues, '\n')) end   -- what waits has agents again
    end
    if thrown[1] then
      call('SADD', name, unpack(thrown))
      healing.stop_killed()
      if #R.fx > 0 then commit('give_back', {}) end
    end
  end
end
