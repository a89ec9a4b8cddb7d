-- Ended tasks that run again: re-runs and dead letters put back. Both find what is downstream in the specs of a workflow's tasks,
-- which nothing else here reads: what a task needed is of no use once it has ended, so it isn't kept beside them.
--
-- A reset is `anew` (no steps, sub-tasks of its own: what it begins with has changed) or not: a parent goes through its code
-- again with its steps and its other sub-tasks as they were, and a dead letter goes on where it failed.

do   -- a scope of its own: the library's main chunk may hold 200 locals

local RESET_MAX = 5000    -- tasks of a workflow that is looked through in one call: it takes some 50 ms, and three times that to reset all
local NEEDS = 8           -- the place of `needs` in a TaskSpec (model/task.py)

-- Return what a spec needs. cmsgpack knows no extensions, and a spec's input, its second field, is one where it is sealed or lies in
-- the artifact store: such a spec is read without it.
local function needs_of(spec)
  local read, found = pcall(cmsgpack.unpack, spec)
  if not read then
    local at = (string.byte(spec, 1) == 0xdc and 3 or 1) + 1             -- after the array's header
    local head = string.byte(spec, at)                                  -- the capability's
    at = at + (head == 0xd9 and 2 + string.byte(spec, at + 1) or head == 0xda and 3 + struct.unpack('>I2', spec, at + 1) or 1 + head - 0xa0)
    head = string.byte(spec, at)
    local after = head == 0xc7 and at + 3 + string.byte(spec, at + 1)
      or head == 0xc8 and at + 4 + struct.unpack('>I2', spec, at + 1)
      or head == 0xc9 and at + 6 + struct.unpack('>I4', spec, at + 1)
    found = cmsgpack.unpack(string.sub(spec, 1, at - 1) .. '\192' .. string.sub(spec, after))
  end
  return found[NEEDS] or {}
end

-- Read a workflow's tasks, but for those that are nobody's: returns them in order and by id, each with a few of its fields and `needs` (ids), `dependents` and
-- `children` (lists of tasks).
local function read_graph(workflow)
  local list, by_id = {}, {}
  for _, id in ipairs(call('LRANGE', key('wt', workflow), 0, -1)) do
    local v = call('HMGET', key('t', id), 's', 'u', 'x', 'Z', 'X', 'b', 'N')
    if v[1] and not v[7] then
      local task = {id = id, s = v[1], u = v[2], x = v[3], Z = v[4], needs = needs_of(v[6]), dependents = {}, children = {}}
      if v[5] then
        local more = call('HMGET', key('t', id), 'o', 'O', 'U')
        task.o, task.O, task.U = more[1], more[2], more[3]
      end
      list[#list + 1], by_id[id] = task, task
    end
  end
  for _, task in ipairs(list) do
    for _, need in ipairs(task.o and {} or task.needs) do
      if by_id[need] then table.insert(by_id[need].dependents, task) end
    end
    if task.u and by_id[task.u] then table.insert(by_id[task.u].children, task) end
  end
  return {list = list, by_id = by_id}
end

-- Mark what a task that starts anew had spawned: it is nobody's any more, and never runs again. Returns what needs it from without, which can't run.
local function drop_children(task)
  local stack, bereft = {task}, {}
  while #stack > 0 do
    for _, child in ipairs(table.remove(stack).children) do
      if not child.dropped then
        child.dropped, child.reset = true, nil
        stack[#stack + 1] = child
        for _, other in ipairs(child.dependents) do bereft[#bereft + 1] = other end
      end
    end
  end
  return bereft
end

-- Mark what is to be reset with `starts`, downstream of them: all of it with `everything`, else what failed for want of
-- them and what counts how many succeed.
local function mark_downstream(graph, starts, everything)
  local stack = {}
  local function mark(task, anew)
    if task.dropped or task.reset == 'anew' or (task.reset and not anew) then return end
    task.reset = anew and 'anew' or 'again'
    stack[#stack + 1] = task
    for _, other in ipairs(anew and drop_children(task) or {}) do
      if not other.dropped and not other.reset then
        other.reset = 'anew'
        stack[#stack + 1] = other
      end
    end
  end
  local function concerned(task)   -- it failed for it, or may still do so because it has counted it out
    if task.s == 'waiting' and call('HEXISTS', key('t', task.id), 'i') == 1 then return true end
    local blob = task.s == 'failed' and call('HGET', key('t', task.id), 'e')
    return blob and cmsgpack.unpack(blob)[1] == 'dependency_failed'
  end
  for _, task in ipairs(starts) do mark(task, everything) end
  while #stack > 0 do
    local task = table.remove(stack)
    for _, other in ipairs(task.dropped and {} or task.dependents) do
      if everything or concerned(other) then mark(other, true) end
    end
    local parent = not task.dropped and task.u and graph.by_id[task.u]
    if parent and (everything or parent.s == 'failed' or parent.s == 'waiting') then mark(parent, false) end
  end
end

-- Mark what was cancelled only because what it belongs to ended, and that is open again.
local function mark_outlived(graph, reopened)
  for _, task in ipairs(graph.list) do   -- parents stand before their children
    local parent = task.u and graph.by_id[task.u]
    local goes_on = not task.u and reopened or parent and (parent.reset or not TERMINAL[parent.s])
    if task.Z and goes_on and not task.dropped and not task.o and not task.reset then task.reset = 'again' end
  end
end

-- Wait for a need or a sub-task, unless it is known already to have this one in its list.
local function wait_in(graph, need, entry, task)
  local lists = graph.lists
  if not lists[need] then
    lists[need] = {}
    for _, held in ipairs(call('LRANGE', key('d', need), 0, -1)) do lists[need][held] = true end
    call('HSET', key('t', need), 'D', 1, 'k', 1)
  end
  if not lists[need][entry] then
    lists[need][entry] = true
    call('RPUSH', key('d', need), entry)
  end
end

-- What a reset task waits for: returns how many are open, and whether it can't run at all because one of the others failed.
local function wait_again(graph, node, quorum)
  local open, succeeded, doomed = 0, 0, false
  for _, need in ipairs(node.needs) do
    local other = graph.by_id[need] or load(need)
    if other and (other.reset or not TERMINAL[other.s]) then
      wait_in(graph, need, (quorum and '?' or '') .. node.id)
      open = open + 1
    elseif not other or other.s == 'succeeded' then succeeded = succeeded + 1
    elseif other.x ~= 'skip' then doomed = true
    end
  end
  if quorum then
    local missing = quorum - succeeded
    if missing > 0 then
      call('HSET', key('t', node.id), 'i', missing)
      return open, open < missing
    end
    open, doomed = 0, false
  end
  for _, child in ipairs(node.reset == 'again' and node.children or {}) do
    if not child.dropped and (child.reset or not TERMINAL[child.s]) and not child.o then
      wait_in(graph, child.id, '^' .. node.id)
      call('RPUSH', key('c', node.id), child.id)   -- its last end may have taken the child out; twice does no harm
      open = open + 1
    end
  end
  return open, doomed
end

-- Take a task's last life out of the figures and out of its hash, and itself out of where it stands. Returns it as a waiting one.
local function take_back(id)
  local task = load(id)
  if TERMINAL[task.s] then
    call('ZREM', P .. ':dead', id)
    if task.w then
      local t = tally(task.w)
      t[task.s] = t[task.s] - 1
      if not task.o then t.open = t.open + 1 end
      if not task.u and not task.o then
        if task.s == 'failed' and task.x ~= 'skip' then t.bad = t.bad - 1 elseif task.s == 'cancelled' then t.halted = t.halted - 1 end
      end
    end
  else
    take_out(task)
    if task.W == 'signal' then call('ZREM', P .. ':expiring', id) end   -- its time begins when it is asked again
  end
  call('HDEL', key('t', id), 'r', 'e', 'z', 'f', 'l', 'Z', 'B', 'U', 'H')
  call('HSET', key('t', id), 'Y', 1)
  task.s, task.f, task.l, task.B, task.U = 'waiting', 0, 0, nil, nil
  return task
end

-- Forget what a task did: its steps, and which sub-tasks it had.
local function start_anew(task)
  if not task.C and not task.S then return end
  if task.C then call('HINCRBY', key('t', task.id), 'G', 1) end
  call('HDEL', key('t', task.id), 'C', 'S')
  call('DEL', key('s', task.id), key('c', task.id))
  task.C, task.S = nil, nil
end

-- A sub-task runs again and its parent doesn't: it ends with that all the same. Where the parent has ended and no workflow forgets
-- both, it stands by itself from now on.
local function rejoin(task)
  local parent = call('HGET', key('t', task.u), 's')
  if parent and not TERMINAL[parent] then call('RPUSH', key('c', task.u), task.id)
  elseif not task.w then
    call('HDEL', key('t', task.id), 'u')
    task.u = nil
  end
end

-- any state -> waiting.  Returns the task, how many it waits for, and whether it can't run.  Keeps true: the attempt goes on
-- counting, so what the last life still says is refused.
local function reset(graph, node)
  local task = take_back(node.id)
  if node.reset == 'anew' then start_anew(task) end
  if task.u and not (graph.by_id[task.u] or {}).reset then rejoin(task) end
  local open, doomed = wait_again(graph, node, tonumber(task.Q))
  call('HSET', key('t', task.id), 's', 'waiting', 'n', open)
  if task.E and task.W ~= 'signal' then call('ZADD', P .. ':expiring', R.now + task.E, task.id) end
  return {task, open, doomed}
end

-- waiting -> queued, failed, or whatever follows at once; after all others were reset, so that those who wait on it hear of it.
local function set_off(task, open, doomed)
  task.D = call('HGET', key('t', task.id), 'D')
  if doomed then return abandon(task, 'dependency_failed', 'a task that it needs didn\'t succeed') end
  if open > 0 or task.W == 'signal' then effect(task.id, 'waiting') end
  if open == 0 then satisfy(task) end
end

-- any end -> waiting for being asked for: what it compensates runs again, or its workflow does.
local function reset_compensation(node)
  if not TERMINAL[node.s] then return end
  start_anew(take_back(node.id))
  call('HSET', key('t', node.id), 's', 'waiting')
  effect(node.id, 'waiting')
end

-- Open a workflow that has ended; its time begins anew.
local function reopen(id)
  local name = key('w', id)
  if call('HEXISTS', name, 'admission') == 1 then admission.come_back(id) end
  call('HSET', name, 's', 'running')
  call('HDEL', name, 'z', 'v', 'at')
  call('ZREM', P .. ':ended', id)
  call('ZADD', P .. ':open', R.now, id)
  if call('SREM', P .. ':held', id) == 1 then take_up(id, true) end
  R.wf_news[#R.wf_news + 1] = {id, 'running'}
end

-- Reset `ids` of a workflow and what is downstream; returns how many tasks, or nil and why not.
local function reset_from(workflow, ids, everything)
  local w = call('HMGET', key('w', workflow), 's', 'forgotten')
  if not w[1] or w[2] then return nil, 'no_workflow' end
  if w[1] == 'compensating' then return nil, 'compensating' end
  if call('LLEN', key('wt', workflow)) > RESET_MAX then return nil, 'too_large' end
  local graph, starts = read_graph(workflow), {}
  graph.lists = {}
  for _, id in ipairs(ids) do
    if not graph.by_id[id] then return nil, 'unknown' end
    starts[#starts + 1] = graph.by_id[id]
  end
  mark_downstream(graph, starts, everything)
  local reopened = TERMINAL[w[1]]
  if reopened then
    -- What was undone has to be done again.
    local undone = {}
    for _, task in ipairs(graph.list) do
      if task.o and task.U then undone[#undone + 1] = graph.by_id[task.o] end
    end
    mark_downstream(graph, undone, true)
    reopen(workflow)
  end
  mark_outlived(graph, reopened)
  local back = {}
  for _, task in ipairs(graph.list) do
    if task.dropped then
      call('DEL', key('d', task.id))   -- who waited there is dropped or reset as well
      call('HDEL', key('t', task.id), 'Z')
      call('HSET', key('t', task.id), 'N', 1)
      call('ZREM', P .. ':dead', task.id)
      if not TERMINAL[task.s] and cancel(load(task.id)) then task.s = 'cancelled' end
    end
  end
  for _, task in ipairs(graph.list) do
    if task.reset and not task.o then
      back[#back + 1] = reset(graph, task)
      if task.O then call('LREM', key('wu', workflow), 0, task.O) end
    end
    if task.o and (reopened or graph.by_id[task.o].reset) then reset_compensation(task) end
  end
  for _, each in ipairs(back) do set_off(unpack(each)) end
  return #back
end

-- rerun: a task of a workflow and all that is downstream of it runs again.  caller: Workflows.rerun.
--   ARGV: now, retention_ms, workflow, task.  returns how many tasks were reset, or 'no_workflow' | 'unknown' | 'too_large' |
--   'compensating'.  A task that hasn't begun is left as it is: 0.  cost: O(the workflow's tasks).
local function rerun(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local task = load(args[4])
  if not task or task.w ~= args[3] then return call('EXISTS', key('w', args[3])) == 1 and 'unknown' or 'no_workflow' end
  if task.o then return 'unknown' end   -- nobody re-runs an undoing by itself
  if task.s == 'queued' or (task.s == 'waiting' and task.a == 0) then return 0 end
  local n, why = reset_from(args[3], {args[4]}, true)
  if not n then return why end
  commit('reset', {})
  return n
end

-- put_back: failed -> queued for dead letters, with all their retries, and what failed because of them waits again.
--   caller: Workflows.put_back.  ARGV: now, retention_ms, ids.  returns [id, why not]...: 'unknown' (no dead letter),
--   'compensation' (its workflow has ended without it), 'too_large', 'compensating'.  cost: O(the tasks of their workflows).
local function put_back(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local refused, homes, n = {}, {}, 0
  for _, id in ipairs(cmsgpack.unpack(args[3])) do
    local task = call('ZSCORE', P .. ':dead', id) and load(id)
    if not task or task.s ~= 'failed' then
      refused[#refused + 1] = id
      refused[#refused + 1] = 'unknown'
    elseif task.o then
      refused[#refused + 1] = id
      refused[#refused + 1] = 'compensation'
    elseif task.w then
      homes[task.w] = homes[task.w] or {}
      table.insert(homes[task.w], id)
    else
      local needs = needs_of(call('HGET', key('t', id), 'b'))
      set_off(unpack(reset({by_id = {}, lists = {}}, {id = id, reset = 'again', needs = needs, children = {}})))
      n = n + 1
    end
  end
  for workflow, ids in pairs(homes) do
    local done, why = reset_from(workflow, ids, false)
    n = n + (done or 0)
    for _, id in ipairs(done and {} or ids) do
      refused[#refused + 1] = id
      refused[#refused + 1] = why
    end
  end
  if n > 0 then commit('reset', {}) end
  return refused
end

-- discard: take dead letters off the list; they stay failed.  caller: Workflows.discard.  ARGV: now, ids.  returns how many were on it.
local function discard(keys, args)
  begin(keys, args)
  local n = 0
  for _, id in ipairs(cmsgpack.unpack(args[2])) do n = n + call('ZREM', P .. ':dead', id) end
  return n
end

redis.register_function('amas1_rerun', rerun)
redis.register_function('amas1_put_back', put_back)
redis.register_function('amas1_discard', discard)

end
