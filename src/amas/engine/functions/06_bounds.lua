-- Bounds of queues: a submission that finds no room is refused whole; what was accepted is never dropped.
--
-- Keys: P:bounds      hash  queue -> the most tasks that may be queued there when a submission comes; 'delayed' bounds the delayed
--                           ones of all queues together. A queue without a field has no bound.
--       P:let_in      hash  bounded queue -> tasks ever let in
--       P:pace:<queue> hash of a bounded queue, as refusals saw it: t when, o tasks gone by then, r a ms
-- Against a bound counts what is queued now: ready to be claimed, or parked until what it needs has room, also of those of a capability
-- that were routed to a pool. Of a submission counts every new task, also one that waits for
-- others, for it comes to that queue later. What comes back (a retry, a lost host's task) or is spawned by a running task is never
-- refused, since refusing it would lose work or stop it for ever; it takes room from submissions though.

local DELAYED = 'delayed'            -- no queue is called so: a capability has a dot, a pool's queue an @
local PACE_SPAN = 500                -- ms over which a rate is measured at the least
local ROOM_MAX = 3600000             -- ms: nobody plans further ahead on the pace of the last seconds

-- How many tasks of a batch each queue would get; `stored` leaves out those that exist already.
local function arrivals(batch, stored)
  local counts, queue, n, delayed = {}, nil, 0, 0
  for _, t in ipairs(batch) do
    if not (stored and call('EXISTS', key('t', t[1])) == 1) then
      if t[2] ~= queue then   -- most batches are for one queue: a run of it is counted without a look at the table
        if n > 0 then counts[queue] = (counts[queue] or 0) + n end
        queue, n = t[2], 0
      end
      n = n + 1
      local options = t[5]
      if options and (options.d or 0) > 0 then delayed = delayed + 1 end
    end
  end
  if n > 0 then counts[queue] = (counts[queue] or 0) + n end
  if delayed > 0 then counts[DELAYED] = delayed end
  return counts
end

local function depth(queue, parked)
  if queue == DELAYED then return call('ZCARD', P .. ':delayed') end
  return call('ZCARD', key('q', queue)) + tonumber(parked or 0) + routing.routed(queue)
end

-- ms until `missing` places are free, by the rate at which tasks have gone lately beyond those that came back; 0: it can't be told.
local function room_in(queue, held, missing)
  local name = key('pace', queue)
  local v = call('HMGET', name, 't', 'o', 'r')
  local gone, since, rate = tonumber(call('HGET', P .. ':let_in', queue) or 0) - held, tonumber(v[1]), tonumber(v[3])
  if not since then
    call('HSET', name, 't', R.now, 'o', gone)
    return 0
  end
  local span = R.now - since
  if span >= PACE_SPAN then
    local seen = math.max(gone - tonumber(v[2]), 0) / span
    rate = rate and (rate + seen) / 2 or seen
    call('HSET', name, 't', R.now, 'o', gone, 'r', string.format('%.9f', rate))
  end
  if not rate or rate <= 0 then return 0 end
  return math.min(math.ceil(missing / rate), ROOM_MAX)
end

-- Return why a batch finds no room, as submit answers it: {'queue_full', queue, depth, bound, wanted, ms until there is room or 0};
-- nil when there is room.
-- Keeps true: called in the same call that stores the batch, no number of submitters exceeds a bound.
-- cost: a look at each task's queue, and one call for each that has a bound.
local function no_room(batch, resend)
  local bounds_name = P .. ':bounds'
  if call('EXISTS', bounds_name) == 0 then return nil end
  local counts, queues = arrivals(batch), {}
  for queue in pairs(counts) do queues[#queues + 1] = queue end
  table.sort(queues)   -- the first of several full ones is the same each time
  R.let_in = {}
  local bounds, parked = fields_of(bounds_name, queues), fields_of(P .. ':parked', queues)
  for _, queue in ipairs(queues) do
    local bound = tonumber(bounds[queue] or nil)
    if bound then
      local held, wanted = depth(queue, parked[queue]), counts[queue]
      if held + wanted > bound then
        if resend then
          counts, resend = arrivals(batch, true), false
          wanted = counts[queue] or 0
        end
        if wanted > 0 and held + wanted > bound then
          return {'queue_full', queue, held, bound, wanted, room_in(queue, held, held + wanted - bound)}
        end
      end
      R.let_in[queue] = wanted
    end
  end
  return nil
end

-- Count what came into bounded queues, once it is stored; refusals tell from it how fast they drain.
local function count_let_in()
  local queues = {}
  for queue, n in pairs(R.let_in or {}) do
    if n > 0 then queues[#queues + 1] = queue end
  end
  add_to(P .. ':let_in', queues, R.let_in)
end

-- bounds: set every queue's bound, in the place of those before.  caller: QueueBounds.set.
--   ARGV: [queue, most...].  returns how many queues have one.  A lower bound drops nothing: it holds for what comes.
local function set_bounds(keys, args)
  begin(keys, {'0'})
  local wanted = cmsgpack.unpack(args[1])
  call('DEL', P .. ':bounds')
  if #wanted > 0 then call_many('HSET', P .. ':bounds', wanted) end
  return #wanted / 2
end

redis.register_function('amas1_bounds', set_bounds)
