-- Routes: which of several pools a task of a capability goes to.
--
-- Keys: P:routes       hash  v version, table (blob, read here): [[capability, [[pool, share up to and with it, allowance, pulls, explored, share, trial]...]]...],
--                            [[host, {pool: version}]...]; figures and memory (blobs, not read here)
--       P:routes:past  list  '<version>\n<figures>', the newest first, as many as routes_set was told to keep
--       P:outcomes     hash  '<capability>@<pool>\n<version>' -> blob of sums since ever: successes, failures, timed, log seconds, their
--                            squares, seconds, dollars, their squares
--       P:suspended:<capability>@<pool>  set  tasks of it that were suspended while a roll-out of the capability lasted; who reads it
--                            takes out those that have ended
-- A routed task stands in the queue `<capability>@<pool>` (no queue has an @ within otherwise), which the engine adds to what that
-- pool's hosts claim from. There are as many tasks in it as its allowance says; the others stay in the capability's queue, from which
-- the pools with `pulls` take them, so that one that fails fast doesn't drain it. A capability without a route, and a cell without any,
-- is as if this file weren't there: a call that queues or claims looks once whether there is a table.
-- A choice on `trial` is a pool's new version, `<pool>~<version>`, during a roll-out (controllers/rollouts.py). It gets new tasks only;
-- what failed there, or lost its host, goes to the other pools and counts for nothing: no task ends badly for having been tried out.
-- A task's field `route`: how, pool, share and version by lines, and '!' when its last attempt failed and its pool is to blame.

do   -- a scope of its own: the library's main chunk may hold 200 locals

local MOVE = 500           -- tasks that one call takes out of a pool's queue
local NOT_ITS_FAULT = {retry_later = true, rate_limited = true, budget_exhausted = true, artifact_lost = true, host_lost = true}
local decoded = {}         -- the table of the last call, for as long as it is the same

-- Return the table that holds for this call, or false.
function routing.read()
  if R.routes ~= nil then return R.routes end
  local version = call('HGET', P .. ':routes', 'v')
  if version and (decoded.prefix ~= P or decoded.version ~= version) then
    local listed, hosts = unpack(cmsgpack.unpack(call('HGET', P .. ':routes', 'table')))
    decoded = {prefix = P, version = version, of = {}, pools = {}, hosts = {}}
    for _, each in ipairs(listed) do
      local capability, choices = each[1], each[2]
      decoded.of[capability] = choices
      for _, choice in ipairs(choices) do decoded.pools[capability .. '@' .. choice[1]] = choice end
    end
    for _, each in ipairs(hosts) do decoded.hosts[each[1]] = each[2] end
  end
  R.routes = version and decoded or false
  return R.routes
end

-- The capability's own queue of one that may be a pool's branch of it.
function routing.home(queue)
  local at = string.find(queue, '@', 2, true)
  return at and string.sub(queue, 1, at - 1) or queue
end

-- What tasks cost where a queue hasn't learned it itself: hosts tell it by capability.
function routing.learned_cost(queue)
  local home = routing.home(queue)
  return home ~= queue and call('HGET', key('qs', home), 'c') or nil
end

local function depth_of(queue)
  return call('ZCARD', key('q', queue)) + tonumber(call('HGET', P .. ':parked', queue) or 0)
end

-- How many tasks of a capability stand in pools' queues.
function routing.routed(capability)
  local known, n = routing.read(), 0
  for _, choice in ipairs(known and known.of[capability] or {}) do n = n + depth_of(capability .. '@' .. choice[1]) end
  return n
end

local function words(how, choice) return table.concat({how, choice[1], string.format('%.4f', choice[6]), R.routes.version}, '\n') end

-- Whether a pool's queue takes one more, which is counted.
local function has_room(queue, choice)
  R.routed = R.routed or {}
  local n = R.routed[queue] or depth_of(queue)
  if n >= choice[3] then
    R.routed[queue] = n
    return false
  end
  R.routed[queue] = n + 1
  return true
end

-- Whether a routed task is with a new version that is tried out. By its queue's name, since the roll-out may be over by now; one
-- that no draw put there named that version, and has its answer.
function routing.on_trial(task)
  return string.find(task.q, '@[^@]*~[^@]*$') and call('HEXISTS', key('t', task.id), 'route') == 1
end

-- Choose for a task about to be queued: returns its queue, and `route`, or nil where there is no choice. The draw is a hash of the
-- task and `turn`, so that the same task draws the same; with a turn over 0 it was begun before. `avoid`: a pool that gets it only if
-- there is no other.
function routing.draw(capability, id, turn, avoid)
  local choices = R.routes.of[capability]
  if not choices then return capability end
  local open, others, allowed = 0, avoid and #choices > 1, {}
  for _, choice in ipairs(choices) do
    if not (others and choice[1] == avoid) and not (choice[7] and (turn > 0 or choice[6] == 0)) then
      allowed[#allowed + 1] = choice
      open = open + choice[6]
    end
  end
  local point, reached, drawn = tonumber(string.sub(redis.sha1hex(id .. '\n' .. turn), 1, 8), 16) / 2 ^ 32 * open, 0, nil
  for _, choice in ipairs(allowed) do
    drawn, reached = choice, reached + choice[6]
    if point < reached then break end
  end
  if not drawn then return capability end
  local queue = capability .. '@' .. drawn[1]
  if not has_room(queue, drawn) then return capability, words('overflow', drawn) end
  return queue, words(avoid and 'elsewhere' or drawn[5] and 'explored' or 'drawn', drawn)
end

-- Write where a task was put.
function routing.note_place(task, queue, why)
  task.q = queue
  if why then call('HSET', key('t', task.id), 'q', queue, 'route', why, 'k', 1)
  else
    call('HSET', key('t', task.id), 'q', queue)
    call('HDEL', key('t', task.id), 'route')
  end
end

-- A routed task that was begun is queued again: with the pool that it was with, unless that one failed it or has left the table.
function routing.send_again(task)
  local capability, pool = string.match(task.q, '^(@?[^@]+)@(.*)$')
  local known = routing.read()
  local route = call('HGET', key('t', task.id), 'route')
  local failed = route and string.sub(route, -2) == '\n!'
  if known and known.pools[task.q] and not failed then return end
  local queue, why = capability, nil
  if known then queue, why = routing.draw(capability, task.id, task.a, failed and pool or nil) end
  routing.note_place(task, queue, why)
end

-- The queues that a pool's free agents take from; and its choices by the capability's queue, for `pulled`, where it has any.
function routing.queues_of(pool, queues)
  local of, all, routed = R.routes.pools, {}, nil
  for _, queue in ipairs(queues) do
    local branch = queue .. '@' .. pool
    local choice = of[branch]
    if not choice or choice[4] then all[#all + 1] = queue end
    if choice then
      all[#all + 1] = branch
      routed = routed or {}
      routed[queue] = choice
    end
  end
  return all, routed
end

-- A claim gave a task to a pool: one that came from the capability's queue is that pool's from now on.
function routing.pulled(id, routed)
  local name = key('t', id)
  local queue = call('HGET', name, 'q')
  local choice = routed[queue]
  if choice then call('HSET', name, 'q', queue .. '@' .. choice[1], 'route', words('pulled', choice), 'k', 1) end
end

-- Add an attempt's outcome to the sums of its pool. `usage` is [usd, ...] as its agent said it, in micro-dollars.
function routing.learn(task, well, usage)
  local known = routing.read()
  local pool = string.match(task.q, '^@?[^@]+@(.*)$')
  local version = known and known.hosts[task.h or ''] and known.hosts[task.h][pool]
  if not version then return end   -- of a host that the table doesn't know yet, or of a pool that has left it
  if string.find(task.q, '~', 1, true) and not routing.on_trial(task) then return end   -- a test of that version, not a share of the work
  R.outcomes = R.outcomes or {}
  local field = task.q .. '\n' .. version
  local sums = R.outcomes[field] or {0, 0, 0, 0, 0, 0, 0, 0}
  R.outcomes[field] = sums
  sums[well and 1 or 2] = sums[well and 1 or 2] + 1
  if usage then
    local usd = (usage[1] or 0) / 1e6
    sums[7], sums[8] = sums[7] + usd, sums[8] + usd * usd
  end
  if not well or task.f > 0 or (task.l or 0) > 0 then return end
  local _, _, _, started = claim_of(call('HGET', key('t', task.id), 'c'))
  local seconds = math.max(R.now - started, 1) / 1000
  local log = math.log(seconds)
  sums[3], sums[4], sums[5], sums[6] = sums[3] + 1, sums[4] + log, sums[5] + log * log, sums[6] + seconds
end

local function mark_failed(task)
  local name = key('t', task.id)
  local route = call('HGET', name, 'route')
  if route and string.sub(route, -2) ~= '\n!' then call('HSET', name, 'route', route .. '\n!') end
end

-- An attempt failed: its pool is to blame, unless the failure says that it had no part in it. Returns whether the task is excused:
-- it was tried out and goes to another pool, whatever it may have failed before. `last`: it would end by this.
function routing.blame(task, failure, usage, last)
  local code = cmsgpack.unpack(failure)[1]
  local trial, own = routing.on_trial(task), not NOT_ITS_FAULT[code]
  if own then routing.learn(task, false, usage) end
  if own or trial and last then mark_failed(task) end
  return trial and (own or last and code ~= 'budget_exhausted')
end

-- The host of a task that is tried out died: the task isn't to blame, and goes to another pool. Returns whether it was such a one.
function routing.excuse(task)
  if not routing.on_trial(task) then return false end
  mark_failed(task)
  return true
end

-- A routed task is suspended: remembered while its capability has a choice on trial, so that the roll-out can wait for it.
function routing.suspended(task)
  local known = routing.read()
  for _, choice in ipairs(known and known.of[routing.home(task.q)] or {}) do
    if choice[7] then return call('SADD', P .. ':suspended:' .. task.q, task.id) end
  end
end

function routing.flush()
  for field, sums in pairs(R.outcomes) do
    local held = call('HGET', P .. ':outcomes', field)
    for i, n in ipairs(held and cmsgpack.unpack(held) or {}) do sums[i] = sums[i] + n end
    call('HSET', P .. ':outcomes', field, cmsgpack.pack(sums))
  end
  R.outcomes = nil
end

-- routes_set: publish a table, or take it away.  caller: Routes.publish.  ARGV: now, table ('' for none), figures, memory, how many
--   past figures are kept, fields of P:outcomes to forget (blob).  returns its version, 0 for none.
--   Keeps true: a version is higher than any before, by the engine's clock also over a cell that was emptied.
local function routes_set(keys, args)
  local now = begin(keys, args)
  local name, forgotten = P .. ':routes', cmsgpack.unpack(args[6])
  if #forgotten > 0 then call_many('HDEL', P .. ':outcomes', forgotten) end
  call('HSET', name, 'memory', args[4])
  if args[2] == '' then
    call('HDEL', name, 'v', 'table', 'figures')
    return 0
  end
  local version = string.format('%d', math.max(now, tonumber(call('HGET', name, 'last') or 0) + 1))
  call('HSET', name, 'v', version, 'last', version, 'table', args[2], 'figures', args[3])
  call('LPUSH', P .. ':routes:past', version .. '\n' .. args[3])
  call('LTRIM', P .. ':routes:past', 0, args[5] - 1)
  for branch in pairs(routing.read().pools) do call('SADD', P .. ':queues', branch) end
  return tonumber(version)
end

-- routes_keep: keep figures and memory, the table as it is.  caller: Routes.keep.  ARGV: now, figures, memory
local function routes_keep(keys, args)
  begin(keys, args)
  return call('HSET', P .. ':routes', 'figures', args[2], 'memory', args[3])
end

-- routes_move: send tasks that wait for a pool elsewhere, as the table says, or to the capability's queue.
--   caller: Routes.move.  ARGV: now, retention_ms, queue.  returns how many: less than 500 when none are left.
--   Keeps true: a task stands in one queue, at every instant. One that is parked goes when it is woken, one that runs when it comes back.
local function routes_move(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local queue, flows = args[3], {}
  local popped = call('ZPOPMIN', key('q', queue), MOVE)
  for i = 1, #popped, 2 do
    local task = load(popped[i])
    if task and task.s == 'queued' then
      if task.V then resources.set_down(task.id) end
      if task.a > 0 then
        ready_again(task)
      else
        local flow = key('fl', queue .. '\n' .. task.p .. '\n' .. (task.T or ''))
        if not flows[flow] then call('ZREM', flow, task.w or '') end   -- it paid there for what it didn't get
        flows[flow] = true
        queue_up(task)
      end
      local route = call('HGET', key('t', task.id), 'route')
      if route then call('HSET', key('t', task.id), 'route', (string.gsub(route, '^%a+', 'moved', 1))) end
    end
  end
  if #popped > 0 then commit('tend', {}) end
  return #popped / 2
end

redis.register_function('amas1_routes_set', routes_set)
redis.register_function('amas1_routes_keep', routes_keep)
redis.register_function('amas1_routes_move', routes_move)

end
