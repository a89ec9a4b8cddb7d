-- Tasks handed to hosts. Shares: P:killed of 63_kill.lua, which a claim only looks for.

local NEW = '\000\194'   -- msgpack: no failures, nothing to resume

-- Whether anything may be there that a claim has to respect, or to do: one look instead of five, and mostly there is nothing.
local function anything_special()
  return call('EXISTS', P .. ':choosy', P .. ':held', P .. ':killed', P .. ':scopes', P .. ':chores') > 0
end

-- claim: hand queued tasks to a host's free agents.
--   caller: TaskQueue.claim.  ARGV: now, host, groups [[queues, agent ids (one for each free slot)]...]
--   returns one msgpack array of [id, attempt, agent, failures, resumed, spec, and of one that was reset: generation, true], or 'lost' when the host holds no lease.
--   Keeps true: each task goes to one attempt, numbered one higher than the last.  cost: O(claimed * log queued + queues).
local function claim(keys, args)
  begin(keys, args)
  local host = args[2]
  if not call('ZSCORE', P .. ':hosts', host) then return 'lost' end
  local special, back = anything_special(), {}
  local choosy = special and call('EXISTS', P .. ':choosy') == 1
  local anything_held = special and call('EXISTS', P .. ':held') == 1
  local killed = special and healing.killed()
  local out, journal, running, asked, handed = {}, {}, {}, 0, 0
  local holder = '\n' .. host .. '\n'
  if special then resources.look_for_scopes() end
  local routes = routing.read()

  -- queued -> running, by `agent`; false when the task is gone, not queued any more, of a workflow that is held, or lacks a resource.
  local function start(id, score, agent, pool)
    local name = key('t', id)
    local v = call('HMGET', name, 's', 'c', 'k', 'b', 'v')
    if v[1] ~= 'queued' then return false end
    if anything_held and v[3] and set_aside(id, score) then
      if v[5] then resources.set_down(id) end
      return false
    end
    if (v[5] or R.scoped) and not resources.admit(id, tonumber(score), v[5], pool) then return false end   -- parked
    local attempt, packed_attempt, started, history, again = '1', '\001', R.stamp, NEW, nil
    if v[2] then   -- not its first
      local last, _, _, first = claim_of(v[2])
      local held = call('HMGET', name, 'f', 'S', 'C', 'G', 'Y')
      attempt, packed_attempt, started = string.format('%d', last + 1), cmsgpack.pack(last + 1), first
      history = cmsgpack.pack(tonumber(held[1]) or 0, (held[2] or held[3]) and true or false)
      again = held[5] and cmsgpack.pack(tonumber(held[4]) or 0, true)
    end
    call('HSET', name, 's', 'running', 'c', attempt .. holder .. agent .. '\n' .. started)
    local words, n = packed_text(id) .. packed_attempt .. packed_text(agent), 2 * handed
    handed = handed + 1
    running[n + 1], running[n + 2] = id, agent
    journal[n + 1], journal[n + 2] = '\147', words   -- pieces, joined once: strings joined before would be hashed and copied again
    n = 2 * n
    out[n + 1], out[n + 2], out[n + 3] = again and '\152' or '\150', words, history
    out[n + 4] = again and v[4] .. again or v[4]
    return true
  end

  for _, group in ipairs(cmsgpack.unpack(args[3])) do
    local queues, agents = group[1], killed and healing.spared(killed, group[2]) or group[2]
    local given, pool, routed = 0, (R.scoped or routes) and resources.pool_of(queues), nil
    if routes and pool then queues, routed = routing.queues_of(pool, queues) end
    asked = asked + #agents
    while given < #agents and R.budget > 0 and not resources.enough(queues) do
      local wanted = #agents - given
      local taken = #queues == 1 and take(queues[1], wanted) or take_from(queues, wanted)
      for i = 1, #taken, 2 do
        if choosy and not choices.seat(taken[i], agents, given + 1) then
          back[#back + 1] = {taken[i], taken[i + 1]}
          R.budget = R.budget - 1
        elseif start(taken[i], taken[i + 1], agents[given + 1], pool) then
          given = given + 1
          if routed then routing.pulled(taken[i], routed) end
        end
      end
      if #taken < 2 * wanted then break end   -- there was no more
    end
  end
  choices.put_back(back)
  if handed > 0 or R.res then
    call_many('HSET', key('r', host), running)
    if handed > 0 then count('claimed', handed) end
    commit('claim', {'h', host, 'b', array_header(handed) .. table.concat(journal)})
  end
  if handed < asked and (special or handed > 0 or R.res) then tend_in_passing(keys, args) end   -- else there are no chores
  return array_header(handed) .. table.concat(out)
end

redis.register_function('amas1_claim', claim)

-- weigh: set all tenants' weights.  caller: TaskQueue.weigh.  ARGV: {tenant: weight}; who isn't named has 1
local function weigh(keys, args)
  redis.call('DEL', keys[1] .. ':weights')
  for tenant, weight in pairs(cmsgpack.unpack(args[1])) do redis.call('HSET', keys[1] .. ':weights', tenant, weight) end
end

redis.register_function('amas1_weigh', weigh)
