-- What tasks take of the resources of 05_resources.lua: all that they need when they are claimed, or nothing; given back and
-- charged when an attempt ends, however it does. What people set as limits, and the end of those for whom a budget never has room.
--
--   P:scopes     hash  budgets that tasks don't name themselves, and pool/<name> -> what its tasks need (blob)
--   P:learned    hash  queue -> blob [reports, usd, tokens, calls, wall_ms, attempts]: averages, for tasks without an estimate
-- A task's field v is what it needs, as it was submitted (blob: [[resource or D, amount, limit]...]). A task with V has v and k.

do
  local DIM = {usd = 1, tokens = 2, calls = 3, wall_ms = 4}
  local PARKS_MAX = 256          -- in one call of claim; the bell is rung for the rest
  local STOPS_MAX = 200          -- trees stopped in one sweep

  local function scope(name)
    if not R.scoped then return false end
    R.scope = R.scope or {}
    if R.scope[name] == nil then R.scope[name] = call('HGET', P .. ':scopes', name) end
    return R.scope[name]
  end

  local function learned_of(queue)
    local held = call('HGET', P .. ':learned', queue) or call('HGET', P .. ':learned', routing.home(queue))
    return held and cmsgpack.unpack(held) or {0, 0, 0, 0, 0, 0}
  end

  -- What a task needs: [[name, amounts]...], slots first, then rates, then budgets.
  local function needs_of(said, queue, tenant, workflow, pool)
    local estimate, needs, rates, budgets = {}, {}, {}, {}
    local function read(list, own)
      local rated = #rates > 0
      for _, item in ipairs(list) do
        local name, amount = item[1], item[2] or 1
        local kind = string.match(name, '^%a+')
        if DIM[name] then estimate[DIM[name]] = estimate[DIM[name]] or amount
        elseif kind == 'slots' then needs[#needs + 1] = {name, {1, item[3] or 1}}
        elseif kind == 'rate' and (own or not rated) then rates[#rates + 1] = {name, item[2] or 0}   -- the task's word goes first
        elseif kind == 'budget' then budgets[#budgets + 1] = name end
      end
    end
    if said ~= '' then read(cmsgpack.unpack(said), true) end
    local of_pool = pool and scope('pool/' .. pool)
    if of_pool then read(cmsgpack.unpack(of_pool), false) end
    for kind, name in pairs({workflow = workflow, tenant = tenant, pool = pool}) do
      if name and scope('budget:' .. kind .. '/' .. name) then budgets[#budgets + 1] = 'budget:' .. kind .. '/' .. name end
    end
    if #rates + #budgets == 0 then return needs end
    local learned
    for i = 1, 4 do
      if not estimate[i] then
        learned = learned or learned_of(queue)
        estimate[i] = math.ceil(learned[i + 1])
      end
    end
    for _, rate in ipairs(rates) do
      needs[#needs + 1] = {rate[1], {math.max(1, estimate[3]), rate[2] > 0 and rate[2] or estimate[2]}}
    end
    table.sort(budgets)
    for _, name in ipairs(budgets) do needs[#needs + 1] = {name, estimate} end
    return needs
  end

  -- Whether the claim looks at resources of tasks that name none.
  function resources.look_for_scopes() R.scoped = call('HLEN', P .. ':scopes') > 0 end

  -- The pool whose own queue is among these.
  function resources.pool_of(queues)
    for _, queue in ipairs(queues) do
      if string.sub(queue, 1, 1) == '@' then return string.sub(queue, 2) end
    end
  end

  -- Take all that a queued task needs and return true, or park it.  cost: O(its resources), and O(log parked) to park.
  function resources.admit(id, score, said, pool)
    local held = call('HMGET', key('t', id), 'q', 'T', 'w', 'V')
    local queue, parks, since = held[1], 0, math.huge   -- one that comes now is behind all who wait
    local needs = needs_of(said or '', queue, held[2], held[3], pool)
    if held[4] then
      local place = cmsgpack.unpack(held[4])
      parks, since = place[3], place[5]
      unwake(queue, place[4])
    elseif #needs == 0 then
      return true
    end
    for _, need in ipairs(needs) do
      local res = resource(need[1])
      if not fits(res, need[2]) or barred(res, queue, score, parks, since) then
        if not said then call('HSET', key('t', id), 'v', '', 'k', 1) end
        park(id, queue, score, parks + 1, math.min(since, R.now - R.now % 16), res, needs)
        return false
      end
    end
    for _, need in ipairs(needs) do take_need(resource(need[1]), need[2]) end
    call('HSET', key('t', id), 'V', cmsgpack.pack({'held', R.now, needs, false}), 'v', said or '', 'k', 1)
    return true
  end

  -- A queued task is set aside before anybody looked at what it needs.
  function resources.set_down(id)
    local held = call('HMGET', key('t', id), 'V', 'q')
    local place = held[1] and cmsgpack.unpack(held[1])
    if not place or place[1] ~= 'woken' then return end
    unwake(held[2], place[4])
    call('HDEL', key('t', id), 'V')
  end

  -- Whether a claim has parked as much as one call may; then it stops, and the bell is rung for what is left.
  function resources.enough(queues)
    if (R.parks or 0) < PARKS_MAX then return false end
    for _, queue in ipairs(queues) do R.ready[queue] = R.ready[queue] or {} end
    return true
  end

  -- Learn from an attempt: `used` is [usd, tokens, calls], or nothing where its agent didn't say.
  local function learn_usage(queue, used, wall_ms)
    local learned = learned_of(queue)
    learned[6] = math.min(learned[6] + 1, 10)   -- the newer counts for more
    learned[5] = learned[5] + (wall_ms - learned[5]) / learned[6]
    if used then
      learned[1] = math.min(learned[1] + 1, 10)
      for i = 1, 3 do learned[i + 1] = learned[i + 1] + ((used[i] or 0) - learned[i + 1]) / learned[1] end
    end
    call('HSET', P .. ':learned', queue, cmsgpack.pack(learned))
  end

  -- An attempt ends in any way: give back what it held. `usage` is [usd, tokens, calls] as its agent reported it; without it all
  -- that was reserved counts as used, since nobody can say that it wasn't. Returns the rates that it held and the budget that
  -- refused it more.
  function resources.settle(task, usage)
    local place = cmsgpack.unpack(task.V)
    task.V = nil
    if place[1] ~= 'held' then return {}, false end
    local rates, metered = {}, false
    for _, need in ipairs(place[3]) do
      local res = resource(need[1])
      local said = usage or (res.kind == 'rate' and {0, need[2][2], need[2][1]} or need[2])
      local used = {said[1] or 0, said[2] or 0, said[3] or 0}
      used[4] = R.now - place[2]
      settle_need(res, need[2], place[2], used)
      if res.kind == 'rate' then rates[#rates + 1] = res.name end
      metered = metered or res.kind ~= 'slots'
    end
    if metered then learn_usage(task.q, usage, R.now - place[2]) end
    call('HDEL', key('t', task.id), 'V')
    return rates, place[4]
  end

  -- A task leaves for good from wherever it stands.
  function resources.leave(task)
    local place = cmsgpack.unpack(task.V)
    if place[1] == 'held' then
      resources.settle(task)
      return
    end
    if place[1] == 'parked' then unpark(task.id, task.q, place[4]) else unwake(task.q, place[4]) end
    task.V = nil
    call('HDEL', key('t', task.id), 'V')
  end

  -- Keep what a new task needs: returns the blob for its field v. The limits of its concurrency keys hold from now on; a
  -- budget of its own, said as max_usd and so on, is opened.
  function resources.wants(id, list)
    local kept, own = {}, nil
    for _, item in ipairs(list or {}) do
      local d = string.match(item[1], '^max_(.*)$')
      if d then
        own = own or resource('budget:task/' .. id)
        own.f['limit:' .. d] = item[2]
        own.dirty = true
      else
        if item[3] and item[3] > 0 then
          local res = resource(item[1])
          if res.f.limit ~= item[3] then
            res.f.limit, res.dirty = item[3], true
            touch(res)
          end
        end
        kept[#kept + 1] = item
      end
    end
    if own then
      kept[#kept + 1] = {own.name}
      look_again(own, R.now + IDLE_MS)
    end
    for _, name in ipairs(R.inherited or {}) do kept[#kept + 1] = {name} end
    return cmsgpack.pack(kept)
  end

  -- Have sub-tasks spend from the budgets that their parent, outside any workflow, names.
  function resources.inherit(task)
    for _, item in ipairs(task.v and not task.w and task.v ~= '' and cmsgpack.unpack(task.v) or {}) do
      if string.sub(item[1], 1, 7) == 'budget:' then
        R.inherited = R.inherited or {}
        table.insert(R.inherited, item[1])
      end
    end
  end

  -- Open the budget of a scope, [usd, tokens, calls, wall_ms] with nil where there is no limit.
  function resources.open_budget(name, limits)
    local res = resource('budget:' .. name)
    for i, d in ipairs(DIMS) do
      local limit = limits[i]
      if type(limit) == 'number' then res.f['limit:' .. d] = limit end
    end
    res.dirty = true
    look_again(res, R.now + IDLE_MS)
    call('HSET', P .. ':scopes', res.name, '')
  end

  -- A provider said that it takes nothing for `wait_ms`: close it for everybody.
  function resources.close(provider, wait_ms)
    local res = resource('rate:' .. provider)
    if R.now + wait_ms > (res.f.closed or 0) then
      res.f.closed, res.dirty = R.now + wait_ms, true
      touch(res)
    end
  end

  -- running -> queued, or delayed where nothing that it needs names the provider: the provider takes nothing for `wait_ms`.
  function resources.wait_for_provider(task, rates, provider, wait_ms)
    local known = false
    for _, name in ipairs(rates) do
      if provider == '' or name == 'rate:' .. provider then
        resources.close(string.sub(name, 6), wait_ms)
        known = true
      end
    end
    if known then   -- the next claim parks it
      call('HSET', key('t', task.id), 's', 'queued')
      ready_again(task)
      effect(task.id, 'queued')
      return
    end
    if provider ~= '' then resources.close(provider, wait_ms) end
    call('HSET', key('t', task.id), 's', 'delayed')
    call('ZADD', P .. ':delayed', R.now + wait_ms, task.id)
    effect(task.id, 'delayed', cmsgpack.pack(R.now + wait_ms))
  end

  local function no_room(name)
    local scope_name = string.gsub(name, '^budget:', '')
    return 'the budget of ' .. scope_name .. ' has no room for what is left to do: raise it and submit that again'
  end

  -- End the workflow of a task that found its budget exhausted; what has succeeded stays.
  function resources.stop_workflow(task, name)
    count('budgets_exhausted')
    if task.w and call('HGET', key('w', task.w), 's') == 'running' then
      call('HSET', key('w', task.w), 'e', failure('budget_exhausted', no_room(name)))
      decide(task.w, 'failed', false)
    end
  end

  -- End a task whose budget has no room and never will have, and its workflow with it.
  local function stop_tree(task, name)
    dead_letter(task)
    abandon(task, 'budget_exhausted', no_room(name))
    resources.stop_workflow(task, name)
  end

  -- Stop the trees of those for whom a budget has no room while nothing is left to be settled. Returns how many.
  local function stop_exhausted(res)
    local n = 0
    for _, queue in ipairs(parked_queues(res)) do
      while n < STOPS_MAX and (res.f.holders or 0) == 0 do
        local id = call('ZRANGE', park_key(res, queue), 0, 0)[1]
        if not id then break end
        local place, need = parked_place(res, id)
        if place and fits(res, need) then break end   -- it waits for something else too, or is about to be woken
        if place then stop_tree(load(id), res.name)
        else
          call('ZREM', park_key(res, queue), id)
          bump(res, 'parked', -1)
        end
        n = n + 1
      end
    end
    return n
  end

  -- What a resource is about is gone: the workflow or task of a budget, or whoever used a key.
  local function orphaned(res)
    if not idle(res) then return false end
    local kind, id = string.match(res.name, '^budget:(%a+)/(.*)$')
    if kind == 'workflow' then return call('EXISTS', key('w', id)) == 0 end
    if kind == 'task' then return call('EXISTS', key('t', id)) == 0 end
    return res.kind ~= 'budget' and R.now - (res.f.idle_at or R.now) >= IDLE_MS
  end

  -- refill: look at the resources whose time has come: wake whom they have room for, stop the trees whose budget is exhausted,
  --   forget what nobody uses.  caller: the timers.  ARGV: now, retention_ms, limit
  --   returns how many were due, and when the next is (0: none).  cost: O(due + woken * log parked).
  local function refill(keys, args)
    local now = begin(keys, args)
    R.retention = tonumber(args[2])
    local names = call('ZRANGEBYSCORE', P .. ':due', '-inf', now, 'LIMIT', 0, args[3])
    for _, name in ipairs(names) do
      call('ZREM', P .. ':due', name)
      local res = resource(name)
      if orphaned(res) then
        call('DEL', key('res', name), key('parks', name))
        call('SREM', P .. ':resources', name)
        call('HDEL', P .. ':scopes', name)
        R.res[name] = nil
      else
        if now - (res.f.woken_at or now) >= FORGIVE_MS then
          for field, n in pairs(res.f) do
            if n > 0 and string.sub(field, 1, 6) == 'woken:' then res.f[field], res.dirty = 0, true end
          end
        end
        if res.kind == 'budget' then
          if stop_exhausted(res) >= STOPS_MAX then look_again(res, now) end
          if not res.f.declared then look_again(res, now + IDLE_MS) end
        end
        touch(res)
      end
    end
    if #names > 0 then commit('refill', {}) end
    local head = call('ZRANGE', P .. ':due', 0, 0, 'WITHSCORES')
    return {#names, tonumber(head[2] or 0)}
  end

  -- limit: set what a resource allows, from now on.  caller: Limits.
  --   ARGV: now, retention_ms, name, fields {name: number} or '' to take the limits off, keeping what is held and spent. A name
  --   pool/<pool> sets what each task of the pool needs, with a blob of [[resource, amount, limit]...] for fields.
  --   returns 1.  Keeps true: raising a limit wakes whom it has room for at once.
  local function set_limit(keys, args)
    begin(keys, args)
    R.retention = tonumber(args[2])
    local name = args[3]
    if string.sub(name, 1, 5) == 'pool/' then
      if args[4] == '' then call('HDEL', P .. ':scopes', name) else call('HSET', P .. ':scopes', name, args[4]) end
      return 1
    end
    local res = resource(name)
    for field in pairs(res.f) do
      if string.sub(field, 1, 5) == 'limit' or string.find(field, '_per_min$') or field == 'declared' then
        res.f[field] = nil
        call('HDEL', key('res', name), field)
      end
    end
    if args[4] ~= '' then
      for field, n in pairs(cmsgpack.unpack(args[4])) do res.f[field] = n end
      res.f.declared = 1
      if res.kind == 'budget' then call('HSET', P .. ':scopes', name, '') end
    elseif res.kind == 'budget' then
      call('HDEL', P .. ':scopes', name)
    end
    res.dirty = true
    touch(res)
    commit('limit', {'b', cmsgpack.pack({name, args[4]})})
    return 1
  end

  -- spend: what an attempt is about to have used in all must be reserved in each of its budgets.  caller: Limits.spend.
  --   ARGV: now, id, attempt, usd, tokens, calls.  returns [] | [refusal, ''] by the fence | ['exhausted', budget].
  --   Keeps true: a budget's spent and held amounts never exceed its limit by what was announced here.
  local function spend(keys, args)
    begin(keys, args)
    local task, why = owned(args[2], tonumber(args[3]), {})
    if not task then return {why, ''} end
    local place = task.V and cmsgpack.unpack(task.V)
    if not place then return {} end
    local raised = {}
    for _, need in ipairs(place[3]) do
      local res, more = resource(need[1]), {0, 0, 0, 0}
      for i = 1, 3 do more[i] = math.max(0, tonumber(args[3 + i]) - (need[2][i] or 0)) end
      if res.kind == 'budget' and more[1] + more[2] + more[3] > 0 then
        if not fits(res, more) then
          place[4] = res.name
          set_place(task.id, place)
          return {'exhausted', res.name}
        end
        raised[#raised + 1] = {res, need, more}
      end
    end
    for _, each in ipairs(raised) do
      local res, need, more = unpack(each)
      for i = 1, 3 do
        need[2][i] = (need[2][i] or 0) + more[i]
        if more[i] > 0 then bump(res, 'held:' .. DIMS[i], more[i]) end
      end
    end
    if #raised > 0 then
      set_place(task.id, place)
      resources.flush()
    end
    return {}
  end

  redis.register_function('amas1_refill', refill)
  redis.register_function('amas1_limit', set_limit)
  redis.register_function('amas1_spend', spend)
end
