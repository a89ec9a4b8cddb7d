-- Which task goes next: start-time fair queueing (Goyal, Vin and Cheng, 1996), worked out once, when a task is queued.
--
-- A queue's scores are virtual start times, in microseconds of agents' time. A flow is the tasks of one tenant, workflow and
-- priority in one queue: each of its tasks starts where the one before it finishes, and none before the queue's virtual time V,
-- which is the start of the last task handed out. So a flow that comes late stands beside the others, however much they queued,
-- and one that was alone owes nothing for it. A tenant's flows share its weight; what counts is cost and not number.
--
-- A priority is a head start of so much work: within it a higher one goes first, beyond it they share, so nothing starves.

local HOUR = 3600e6   -- one agent's hour in microseconds
local HEAD_START = {[0] = 0, [1] = HOUR, [2] = 10 * HOUR, [3] = 100 * HOUR}
local RESUMED_HEAD_START = HOUR   -- work that was begun goes before new work of its priority
local COST = 1000                 -- of a task whose queue has taught nothing yet
local FLOW_MS = 86400000          -- for how long a silent flow's finish is remembered

-- A score carries the priority in its last two bits, so that a start can be read from it.
local function score_of(start, priority)
  local from = start - HEAD_START[priority]
  return 4 * (from - from % 1) + priority   -- from % 1 and not math.floor: it is asked for each task
end

local function start_of(score)
  local priority = score % 4
  return (score - priority) / 4 + HEAD_START[priority]
end

-- What the call knows of a queue: v its virtual time, cost what its tasks take on average.
local function queue_state(queue)
  local state = R.queues[queue]
  if not state then
    local held = call('HMGET', key('qs', queue), 'v', 'c')
    if not held[2] then held[2] = routing.learned_cost(queue) end
    state = {v = tonumber(held[1]) or 0, cost = tonumber(held[2]) or COST, flows = {}}
    R.queues[queue] = state
  end
  return state
end

local function weight_of(tenant)
  local weight = R.weights[tenant]
  if not weight then
    weight = tonumber(call('HGET', P .. ':weights', tenant) or 1)
    R.weights[tenant] = weight
  end
  return weight
end

-- The finish times of one tenant's flows of one priority in a queue; count is of those that have more than virtual time gives them.
local function flows_of(state, queue, priority, tenant)
  local by_tenant = state.flows[priority]   -- found without making the key, which would be made for each task
  if not by_tenant then by_tenant = {}; state.flows[priority] = by_tenant end
  local flows = by_tenant[tenant]
  if not flows then
    local name = key('fl', queue .. '\n' .. priority .. '\n' .. tenant)
    flows = {name = name, v = string.format('%.17g', state.v), finish = {}, weight = weight_of(tenant)}
    flows.count = call('ZCOUNT', name, '(' .. flows.v, '+inf')
    by_tenant[tenant] = flows
    R.flows[name] = flows
  end
  return flows
end

-- The virtual start of the next task of a flow, whose finish moves on by the task's cost.
local function start_in_flow(queue, priority, tenant, workflow, cost)
  local state = queue_state(queue)
  local flows = flows_of(state, queue, priority, tenant)
  local start = flows.finish[workflow]
  if not start then
    local finish = tonumber(call('ZSCORE', flows.name, workflow) or nil)
    if finish and finish > state.v then start = finish
    else
      start = state.v
      flows.count = flows.count + 1
    end
    flows.another = flows.another or not finish
  end
  flows.finish[workflow] = start + (cost or state.cost) * flows.count / flows.weight
  return start
end

-- Queue a task under a score; the sorted sets are written by commit(), all members of one queue in one call.
local function enqueue(id, queue, score)
  local list = R.ready[queue]
  if not list then list = {}; R.ready[queue] = list end
  local n = #list
  list[n + 1], list[n + 2] = score, id
end

-- Queue a new task behind those of its flow. Returns its queue, which isn't `queue` where it is routed, and why: the field `route`.
-- `choosy`: it has a choice of its own among the agents of all pools, so no pool is chosen for it.
local function ready(id, queue, priority, tenant, workflow, cost, choosy)
  priority = tonumber(priority) or 1
  local routes, why = R.routes, nil
  if routes == nil then routes = routing.read() end
  if routes and not choosy then queue, why = routing.draw(queue, id, 0) end
  enqueue(id, queue, score_of(start_in_flow(queue, priority, tenant or '', workflow or '', cost), priority))
  return queue, why
end

-- Queue a task that was begun before: its flow has paid for it.
local function ready_again(task)
  if string.find(task.q, '@', 2, true) then routing.send_again(task) end
  enqueue(task.id, task.q, score_of(queue_state(task.q).v - RESUMED_HEAD_START, task.p))
end

-- Take up to n tasks off a queue: id and score in turns. Its virtual time moves on.
local function take(queue, n)
  local taken, state = call('ZPOPMIN', key('q', queue), n), queue_state(queue)
  for i = 2, #taken, 2 do
    local start = start_of(tonumber(taken[i]))
    if start > state.v then
      state.v = start
      state.moved = true
    end
  end
  return taken
end

-- Take up to n tasks off several queues, which share by cost like flows do.
local function take_from(queues, n)
  local scores, open = {}, {}
  local function look(queue)
    local head = call('ZRANGE', key('q', queue), 0, 0, 'WITHSCORES')
    scores[queue] = head[1] and tonumber(head[2]) or nil
  end
  for _, queue in ipairs(queues) do
    look(queue)
    if scores[queue] then open[#open + 1] = queue end
  end
  if #open == 0 then return {} end
  if #open == 1 then return take(open[1], n) end
  local held = call('HMGET', P .. ':pass', '', unpack(open))
  local now, pass, moved, all = tonumber(held[1]) or 0, {}, {}, {}
  for i, queue in ipairs(open) do pass[queue] = math.max(tonumber(held[i + 1]) or 0, now) end
  local quantum = math.ceil(n / (4 * #open))   -- what one call hands out has no order, so not one by one
  while #all < 2 * n and next(scores) do
    local best, least
    for _, queue in ipairs(open) do
      local lead = scores[queue] and pass[queue] - HEAD_START[scores[queue] % 4]
      if lead and (not best or lead < least) then best, least = queue, lead end
    end
    local taken = take(best, math.min(quantum, n - #all / 2))
    for i = 1, #taken do all[#all + 1] = taken[i] end
    now = math.max(now, pass[best])
    pass[best] = pass[best] + queue_state(best).cost * #taken / 2
    moved[best] = true
    look(best)
  end
  local fields = {'', now}
  for queue in pairs(moved) do
    fields[#fields + 1] = queue
    fields[#fields + 1] = string.format('%.17g', pass[queue])
  end
  call('HSET', P .. ':pass', unpack(fields))
  return all
end

-- Learn from what tasks took: `spent` is [[queue, tasks, microseconds]...]. The newer counts for more, a few never for all.
local function learn(spent)
  for _, item in ipairs(spent) do
    local queue, n, took = unpack(item)
    local state = queue_state(queue)
    state.cost = math.max(1, state.cost + (took / n - state.cost) * math.min(0.5, n / 50))
    state.learned = true
  end
end

-- Write the flows of one tenant and priority. Those that virtual time has overtaken go when another comes, and not each time: where
-- tasks are claimed as fast as they come it overtakes the same flow at every call.
local function write_flows(name, flows)
  local list = {}
  for workflow, finish in pairs(flows.finish) do
    list[#list + 1] = string.format('%.17g', finish)
    list[#list + 1] = workflow
  end
  call_many('ZADD', name, list)
  if flows.another then call('ZREMRANGEBYSCORE', name, '-inf', flows.v) end
  if flows.another or call('PTTL', name) < FLOW_MS / 2 then call('PEXPIRE', name, FLOW_MS) end
end

-- Write what the call changed. Scores go as numbers, which the server writes exactly, at less cost than text; whole ones below 2^53.
local function write_queues()
  local names, sizes, arrived = {}, {}, {}
  for queue, list in pairs(R.ready) do
    call_many('ZADD', key('q', queue), list)
    names[#names + 1] = string.match(queue, '^@?[^@]+(@.*)$') or queue   -- a pool's own bell
    arrived[#arrived + 1], sizes[queue] = queue, #list / 2
  end
  add_to(P .. ':arrived', arrived, sizes, true)
  for name, flows in pairs(R.flows) do write_flows(name, flows) end
  for queue, state in pairs(R.queues) do
    if state.moved then call('HSET', key('qs', queue), 'v', string.format('%.17g', state.v)) end
    if state.learned then call('HSET', key('qs', queue), 'c', string.format('%.0f', state.cost)) end
  end
  return names
end
