-- Resources that a claim respects: slots (at most N held at once), rates (requests and tokens a minute of a provider's account)
-- and budgets (money, tokens, calls and agents' time of a workflow, task, tenant or pool). Here is what each has room for, who waits
-- for it, and who goes first; what tasks need of them, take and leave is in 05_taking.lua.
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
-- A task's field V says where it stands, a blob:
--   ['held', since, needs, refused scope or false] | ['parked', score, parks, on, since, needs] | ['woken', score, parks, on, since]
--   with needs [[name, amounts]...] and since when it was first parked.
-- A parked task bars those behind it from what it waits for, so that room for it can gather: those of its queue by score, those of
-- other queues by when they were first parked, for scores of two queues can't be compared. One that was parked INSIST_AFTER times
-- insists: it stands in the park of each of its resources, else two busy ones would never be free for it at once, and before all
-- that don't insist, in the order of first parking. That order is the same everywhere, so those who insist can't wait in a circle.

local DIMS = {'usd', 'tokens', 'calls', 'wall_ms'}   -- money in micro-dollars
local WINDOW_S = 60
local WAKES_MAX = 1000         -- in one call, for one resource
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
