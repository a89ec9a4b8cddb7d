-- Workflows of which nothing is claimed, and what calls have left to do: known to `claim`, done by `tend`.

-- Whether a workflow is held; looked up once in a call.
local function is_held(workflow)
  R.held = R.held or {}
  if R.held[workflow] == nil then R.held[workflow] = call('SISMEMBER', P .. ':held', workflow) == 1 end
  return R.held[workflow]
end

-- Keep a task out of the queue that `claim` took it from while its workflow is held; returns whether it is.
local function set_aside(id, score)
  local workflow = call('HGET', key('t', id), 'w')
  if not workflow or not is_held(workflow) then return false end
  call('ZADD', key('wp', workflow), score, id)
  R.budget = R.budget - 1
  return true
end

-- Queue again what was set aside while a workflow was held, in its old order, as far as the budget goes. `first`: its flows begin
-- where the queues stand now, for they have paid for what they didn't get.
local function take_up(workflow, first)
  if call('SISMEMBER', P .. ':held', workflow) == 1 then return end   -- paused anew
  local name, flows = key('wp', workflow), {}
  local popped = R.budget > 0 and call('ZPOPMIN', name, R.budget) or {}
  for i = 1, #popped, 2 do
    local task = load(popped[i])
    if task then
      local flow = task.a == 0 and key('fl', task.q .. '\n' .. task.p .. '\n' .. (task.T or ''))
      if flow then
        if first and not flows[flow] then call('ZREM', flow, workflow) end
        flows[flow] = true
      end
      queue_up(task)
    end
  end
  R.budget = R.budget - #popped / 2
  if call('EXISTS', name) == 1 then chore('resume', workflow) end
end

-- Do chores, the oldest first, until the budget is used up; returns whether anything was done. One that isn't through goes to
-- the end of the list, so that a large one doesn't keep the others waiting.
local function do_chores()
  local chores, done = P .. ':chores', false
  for _ = 1, call('LLEN', chores) do
    if R.budget <= 0 then break end
    local kind, id, retention, state = unpack(cmsgpack.unpack(call('LPOP', chores)))
    R.retention, done = retention, true
    R.budget = R.budget - 1   -- one that finds nothing to do any more has its cost, too
    if kind == 'ends' then
      local task = load(id)
      if task and task.s == state then   -- else it was forgotten, or runs again
        R.ends[#R.ends + 1] = {task, state}
        settle_ends()
      end
    elseif kind == 'resume' then
      take_up(id)
    elseif kind == 'kill' then
      healing.stop_killed()
    else
      local w = call('HGET', key('w', id), 's')
      if w and w ~= 'running' then cancel_open(id) end
    end
  end
  return done
end

-- Hosts that find less than they have room for go on with what is left to do, for it may be what they wait for.
local function tend_in_passing(keys, args)
  if call('EXISTS', P .. ':chores') == 0 then return end
  begin(keys, args)
  if do_chores() then commit('tend', {}) end
end

-- tend: the next slice of what calls have left to do.  caller: the timers.  ARGV: now, tasks at most
--   returns 1 while there is more, else 0.  cost: O(tasks at most).
local function tend(keys, args)
  begin(keys, args)
  R.budget = tonumber(args[2])
  if do_chores() then commit('tend', {}) end
  return call('EXISTS', P .. ':chores')
end

redis.register_function('amas1_tend', tend)
