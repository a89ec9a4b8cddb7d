-- Resources that a claim respects: slots (at most N held at once), rates (requests and tokens a minute of a provider's account)
-- and budgets (money, tokens, calls and agents' time of a workflow, task, tenant or pool).
--
-- A task takes all that it needs or nothing. One that lacks something is parked there under its queue's score: its state stays
-- `queued`, but it stands in no queue. What frees room wakes as many parked tasks of each queue as fit, best score first, in the same
-- call; time's part (a window that moves on, a provider that opens again) is in P:due, which the timers sweep. So nobody polls.
--
-- Keys, and what they keep true:
--   P:res:<name>     hash  one resource; `parked` counts the tasks parked on it, `woken:<queue>` those woken and not yet taken up
--       slots:<key>      limit, held, declared
--       rate:<provider>  requests_per_min, tokens_per_min, closed (until, ms), win (blob: [[second, requests, tokens]...])
--       budget:<scope>   limit:D, spent:D, held:D for each D of DIMS; holders (reservations to be settled)
--                        scopes are workflow/<id>, task/<id>, tenant/<name>, pool/<name>
--   P:park:<name> <queue>  zset  parked ids by their queue's score       P:parks:<name>  set  the queues that have some
--   P:resources  set   resources that exist                              P:due           zset resources by when to look at them again
--   P:scopes     hash  budgets that tasks don't name themselves, and pool/<name> -> what its tasks need (blob)
--   P:learned    hash  queue -> blob [reports, usd, tokens, calls, wall_ms, attempts]: averages, for tasks that declare no estimate
-- Fields of a task: v what it needs, as it was submitted (blob: [[resource or D, amount, limit]...]); V where it stands, a blob:
--   ['held', since, needs, refused scope or false] | ['parked', score, parks, on, since, needs] | ['woken', score, parks, on, since]
--   with needs [[name, amounts]...] and since when it was first parked. A task with V has v and k.
-- A parked task bars those behind it from what it waits for, so that room for it can gather: those of its queue by score, those of
-- other queues by when they were first parked, for scores of two queues can't be compared. One that was parked INSIST_AFTER times
-- insists: it stands in the park of each of its resources, else two busy ones would never be free for it at once, and before all
-- that don't insist, in the order of first parking. That order is the same everywhere, so those who insist can't wait in a circle.

local DIMS = {'usd', 'tokens', 'calls', 'wall_ms'}   -- money in micro-dollars
local DIM = {usd = 1, tokens = 2, calls = 3, wall_ms = 4}
local WINDOW_S = 60
local PARKS_MAX = 256          -- in one call of claim; the bell is rung for the rest
local WAKES_MAX = 1000         -- in one call, for one resource
local STOPS_MAX = 200          -- trees stopped in one sweep
local INSIST_AFTER = 3
local INSISTING = -1e17          -- the score in a park at which those who insist begin; times of 16 ms are exact there
local FORGIVE_MS = 30000       -- a woken task that no host took for so long holds up the others of its queue no more
local IDLE_MS = 3600000        -- a concurrency key that nobody used for so long is forgotten

local function resource(name)
  R.res = R.res or {}
  local res = R.res[name]
  if res then return res end
  local held, f, win = call('HGETALL', key('res', name)), {}, nil
  for i = 1, #held, 2 do
    if held[i] == 'win' then win = cmsgpack.unpack(held[i + 1]) else f[held[i]] = tonumber(held[i + 1]) end
  end
  res = {name = name, kind = string.match(name, '^%a+'), f = f, exists = #held > 0}
  if res.kind == 'rate' then
    local now = math.floor(R.now / 1000)
    res.win, res.used = {}, {0, 0}
    for _, slot in ipairs(win or {}) do   -- a slot from far ahead is from before the clock was set back
      if slot[1] >= now - WINDOW_S and slot[1] <= now + WINDOW_S then
        res.win[#res.win + 1] = slot
        res.used[1], res.used[2] = res.used[1] + slot[2], res.used[2] + slot[3]
      end
    end
  end
  R.res[name] = res
  return res
end

local function bump(res, field, n)
  res.f[field] = math.max(0, (res.f[field] or 0) + n)
  res.dirty = true
end

-- Have the parked tasks of a resource looked at before the call ends.
local function touch(res)
  if res.touched then return end
  res.touched = true
  R.touches = R.touches or {}
  R.touches[#R.touches + 1] = res
end

local function look_again(res, at) call('ZADD', P .. ':due', 'LT', string.format('%.0f', at), res.name) end

-- Whether `need` fits beside what is held, and `lent` (of the same shape) besides.
local function fits(res, need, lent)
  local f = res.f
  if res.kind == 'slots' then return (f.held or 0) + (lent and lent[1] or 0) < (f.limit or need[2]) end
  if res.kind == 'rate' then
    if (f.closed or 0) > R.now then return false end
    for i, field in ipairs({'requests_per_min', 'tokens_per_min'}) do
      local used = res.used[i] + (lent and lent[i] or 0)
      -- What is larger than the limit itself goes alone, into an empty window.
      if f[field] and used > 0 and used + need[i] > f[field] then return false end
    end
    return true
  end
  for i, d in ipairs(DIMS) do
    local limit = f['limit:' .. d]
    if limit and (f['spent:' .. d] or 0) + (f['held:' .. d] or 0) + (lent and lent[i] or 0) + (need[i] or 0) > limit then return false end
  end
  return true
end

-- Note `requests` and `tokens` (either may be less than 0) in the window's second of the time `at`.
local function note_rate(res, at, requests, tokens)
  local second = math.floor(at / 1000)
  for _, slot in ipairs(res.win) do
    if slot[1] == second then
      local r, t = math.max(requests, -slot[2]), math.max(tokens, -slot[3])
      slot[2], slot[3] = slot[2] + r, slot[3] + t
      res.used[1], res.used[2] = res.used[1] + r, res.used[2] + t
      res.dirty = true
      return
    end
  end
  if requests < 0 or tokens < 0 then return end   -- that second has left the window
  table.insert(res.win, {second, requests, tokens})
  res.used[1], res.used[2] = res.used[1] + requests, res.used[2] + tokens
  res.dirty = true
end

local function take_need(res, need)
  if res.kind == 'slots' then
    bump(res, 'held', 1)
  elseif res.kind == 'rate' then
    note_rate(res, R.now, need[1], need[2])
  else
    for i, d in ipairs(DIMS) do if (need[i] or 0) > 0 then bump(res, 'held:' .. d, need[i]) end end
    bump(res, 'holders', 1)
  end
end

-- Give back what an attempt held since `at` and charge what it used.
local function settle_need(res, need, at, used)
  if res.kind == 'slots' then
    bump(res, 'held', -1)
  elseif res.kind == 'rate' then
    local requests, tokens = math.max(used[3], 1) - need[1], used[2] - need[2]
    if requests > 0 or tokens > 0 then note_rate(res, R.now, math.max(requests, 0), math.max(tokens, 0)) end
    if requests < 0 or tokens < 0 then note_rate(res, at, math.min(requests, 0), math.min(tokens, 0)) end
  else
    for i, d in ipairs(DIMS) do
      if (need[i] or 0) > 0 then bump(res, 'held:' .. d, -need[i]) end
      if used[i] > 0 then bump(res, 'spent:' .. d, used[i]) end
    end
    bump(res, 'holders', -1)
  end
  touch(res)
end

local function park_key(res, queue) return key('park', res.name .. '\n' .. queue) end

local function parked_queues(res)
  if (res.f.parked or 0) == 0 then return {} end
  local queues = call('SMEMBERS', key('parks', res.name))
  table.sort(queues)
  return queues
end

-- A task as its park sees it: its place, and what it needs of this resource; nil when it stands there no more.
local function parked_place(res, id)
  local held = call('HMGET', key('t', id), 's', 'V')
  local place = held[1] == 'queued' and held[2] and cmsgpack.unpack(held[2])
  if not place or place[1] ~= 'parked' then return nil end
  for _, need in ipairs(place[6]) do
    if need[1] == res.name then return place, need[2] end
  end
end

-- Where a task stands among the parked of its queue, and where among those of others.
local function rank_of(score, parks, since)
  if parks >= INSIST_AFTER then return INSISTING + since, INSISTING + since end
  return score, since
end

-- The first of each queue's parked tasks, the longest parked first: [{queue, rank, order}...].
local function heads_of(res)
  local heads = {}
  for _, queue in ipairs(parked_queues(res)) do
    local id = call('ZRANGE', park_key(res, queue), 0, 0)[1]
    local place = id and parked_place(res, id)
    local rank, order = -math.huge, -math.huge
    if place then rank, order = rank_of(place[2], place[3], place[5]) end
    heads[#heads + 1] = {queue = queue, rank = rank, order = order}
  end
  table.sort(heads, function(a, b) if a.order == b.order then return a.queue < b.queue end return a.order < b.order end)
  return heads
end

-- Whether somebody for whom there is no room goes before a task.
local function barred(res, queue, score, parks, since)
  local rank, order = rank_of(score, parks, since)
  if not res.bars then
    res.bars = {}
    for _, head in ipairs(heads_of(res)) do
      if (res.f['woken:' .. head.queue] or 0) == 0 then res.bars[#res.bars + 1] = head end
    end
  end
  for _, head in ipairs(res.bars) do
    if head.queue == queue and head.rank < rank or head.queue ~= queue and head.order < order then return true end
  end
  return false
end

local function set_place(id, place) call('HSET', key('t', id), 'V', cmsgpack.pack(place)) end

-- Count how many tasks of a queue are parked, wherever: its bound holds for them too.
local function count_parked(queue, n)
  if call('HINCRBY', P .. ':parked', queue, n) <= 0 then call('HDEL', P .. ':parked', queue) end
end

-- Park a task on what it lacks, or on all that it needs if that happened too often.
local function park(id, queue, score, parks, since, lacking, needs)
  local on, names, rank, order = {lacking}, {}, rank_of(score, parks, since)
  -- Not while a provider is closed: that may take an hour, in which others can use the rest.
  if parks >= INSIST_AFTER and (lacking.f.closed or 0) <= R.now then
    on = {}
    for i, need in ipairs(needs) do on[i] = resource(need[1]) end
  end
  for i, res in ipairs(on) do
    names[i] = res.name
    call('ZADD', park_key(res, queue), string.format('%.17g', rank), id)
    if not (res.queues and res.queues[queue]) then
      res.queues = res.queues or {}
      res.queues[queue] = true
      call('SADD', key('parks', res.name), queue)
    end
    bump(res, 'parked', 1)
    if res.bars and (res.f['woken:' .. queue] or 0) == 0 then   -- it may be its queue's new first
      res.bars[#res.bars + 1] = {queue = queue, rank = rank, order = order}
    end
    touch(res)
  end
  set_place(id, {'parked', score, parks, names, since, needs})
  count_parked(queue, 1)
  R.parks = (R.parks or 0) + 1
end

-- Take a task off the parks that it stands in.
local function unpark(id, queue, names)
  count_parked(queue, -1)
  for _, name in ipairs(names) do
    local res = resource(name)
    if call('ZREM', park_key(res, queue), id) == 1 then bump(res, 'parked', -1) end
    res.bars = nil
    touch(res)
  end
end

-- A woken task was taken up or is gone.
local function unwake(queue, names)
  for _, name in ipairs(names) do
    local res, field = resource(name), 'woken:' .. queue
    bump(res, field, -1)
    if res.f[field] == 0 then res.bars = nil end
    touch(res)
  end
end

-- Whether all that an insisting task needs has room for it now.
local function all_fit(place, queue)
  for _, need in ipairs(place[6]) do
    local res = resource(need[1])
    if not fits(res, need[2]) or barred(res, queue, place[2], place[3], place[5]) then return false end
  end
  return true
end

-- When a rate will have room for `need`, as far as the present holders decide it.
local function opens_at(res, need)
  local at, used = math.max(res.f.closed or 0, R.now), {res.used[1], res.used[2]}
  table.sort(res.win, function(a, b) return a[1] < b[1] end)
  for i, field in ipairs({'requests_per_min', 'tokens_per_min'}) do
    local limit = res.f[field]
    for _, slot in ipairs(res.win) do
      if not limit or used[i] == 0 or used[i] + need[i] <= limit then break end
      used[i] = used[i] - slot[i + 1]
      at = math.max(at, (slot[1] + WINDOW_S + 1) * 1000)
    end
  end
  return at
end

-- Wake those of one queue that fit. Returns how many; when none could be, whether the first bars others, and what it lacks here.
local function wake_queue(res, queue, most)
  local name, field, n = park_key(res, queue), 'woken:' .. queue, 0
  local before = res.f[field] or 0
  local lent = {res.kind == 'slots' and before or 0, 0, 0, 0}
  -- Only slots know what those that were woken before will take.
  if res.kind ~= 'slots' and before > 0 then return 0 end
  while true do
    local ids = call('ZRANGE', name, 0, 31)
    if #ids == 0 then
      call('SREM', key('parks', res.name), queue)
      if res.queues then res.queues[queue] = nil end
      return n
    end
    for _, id in ipairs(ids) do
      local place, need = parked_place(res, id)
      if not place then
        call('ZREM', name, id)
        bump(res, 'parked', -1)
      elseif n >= most then
        return n
      elseif not fits(res, need, lent) then
        return n, before + n == 0, need
      elseif #place[4] > 1 and not all_fit(place, queue) then
        return n, before + n == 0
      else
        for _, other in ipairs(place[4]) do
          local from = resource(other)
          call('ZREM', park_key(from, queue), id)
          bump(from, 'parked', -1)
          bump(from, field, 1)
          from.f.woken_at = R.now
          from.bars = nil
          if other ~= res.name then touch(from) end
        end
        for i = 1, 4 do lent[i] = lent[i] + (need[i] or 0) end
        if res.kind == 'slots' then lent[1] = res.f[field] end
        set_place(id, {'woken', place[2], place[3], place[4], place[5]})
        count_parked(queue, -1)
        enqueue(id, queue, place[2])
        n = n + 1
      end
    end
  end
end

local function idle(res)
  local f = res.f
  if (f.parked or 0) > 0 or (f.held or 0) > 0 or (f.holders or 0) > 0 or f.declared or (f.closed or 0) > R.now then return false end
  for field, n in pairs(f) do if n > 0 and string.sub(field, 1, 6) == 'woken:' then return false end end
  return true
end

-- Wake whom a resource has room for; one without room bars those behind it.
local function wake(res)
  res.bars = nil
  local n = 0
  for _, head in ipairs(heads_of(res)) do
    local woken, bars, lacking = wake_queue(res, head.queue, WAKES_MAX - n)
    n = n + woken
    if bars then
      if lacking and res.kind == 'rate' then look_again(res, math.max(opens_at(res, lacking), R.now + 1))
      elseif lacking and res.kind == 'budget' and (res.f.holders or 0) == 0 then look_again(res, R.now) end
      break
    end
  end
  if n >= WAKES_MAX then look_again(res, R.now) elseif (res.f.parked or 0) > 0 then look_again(res, R.now + FORGIVE_MS) end
  if res.kind ~= 'budget' and idle(res) then
    res.f.idle_at = R.now
    res.dirty = true
    look_again(res, R.now + IDLE_MS)
  end
end

-- Wake whom the call made room for, and write every resource that it changed. Called by commit().
function resources.flush()
  local i = 1
  while R.touches and R.touches[i] do   -- waking one that insists touches others; it leaves their parks, so this ends
    local res = R.touches[i]
    res.touched = false
    wake(res)
    i = i + 1
  end
  for name, res in pairs(R.res) do
    if res.dirty then
      local fields, gone = {}, {}
      for field, n in pairs(res.f) do
        if n == 0 and (field == 'parked' or string.sub(field, 1, 6) == 'woken:') then
          gone[#gone + 1] = field
        else
          fields[#fields + 1] = field
          fields[#fields + 1] = string.format('%.0f', n)
        end
      end
      if res.win then
        fields[#fields + 1] = 'win'
        fields[#fields + 1] = cmsgpack.pack(res.win)
      end
      call_many('HSET', key('res', name), fields)
      if #gone > 0 then call_many('HDEL', key('res', name), gone) end
      if (res.f.parked or 0) == 0 then call('DEL', key('parks', name)) end
      if not res.exists then call('SADD', P .. ':resources', name) end
      res.exists, res.dirty = true, false
    end
  end
end

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

-- An attempt ends in any way: give back what it held. `usage` is [usd, tokens, calls] as its agent reported it; without it all that
-- was reserved counts as used, since nobody can say that it wasn't. Returns the rates it held and the budget that refused it more.
function resources.settle(task, usage)
  local place = cmsgpack.unpack(task.V)
  task.V = nil
  if place[1] ~= 'held' then return {}, false end
  local rates, metered = {}, false
  for _, need in ipairs(place[3]) do
    local res = resource(need[1])
    local used = usage and {usage[1] or 0, usage[2] or 0, usage[3] or 0}
    if not used then used = res.kind == 'rate' and {0, need[2][2], need[2][1]} or {need[2][1] or 0, need[2][2] or 0, need[2][3] or 0} end
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
  return 'the budget of ' .. string.gsub(name, '^budget:', '') .. ' has no room for what is left to do: raise it and submit that again'
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

-- limit: set what a resource allows, from now on.  caller: Limits.  ARGV: now, retention_ms, name, fields {name: number} or '' to take
--   the limits off, keeping what is held and spent. A name pool/<pool> sets what each task of the pool needs, with a blob of
--   [[resource, amount, limit]...] for fields.  returns 1.  Keeps true: raising a limit wakes whom it has room for at once.
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
