-- How attempts end. Each function takes a batch, applies what the fence lets through, and returns the rest as
-- [index from 0, code]...; code is 'stale', 'cancelled' or 'unknown'. An outcome sent twice is accepted once.

-- Run `apply(task, item)` for the items that the fence lets through; `outcomes` is the set of states that a repeated item would find.
local function each_owned(batch, outcomes, apply, read)
  local refused, skipped, let_go_of, applied = {}, {}, {}, 0
  for i = 1, #batch do
    local item = batch[i]
    local task, why = owned(item[1], item[2], outcomes, read)
    if task then
      local ids = let_go_of[task.h]
      if not ids then ids = {}; let_go_of[task.h] = ids end
      ids[#ids + 1] = task.id
      apply(task, item)
      applied = applied + 1
    else
      skipped[#skipped + 1] = i - 1
      if why ~= 'same' then
        refused[#refused + 1] = i - 1
        refused[#refused + 1] = why
      end
    end
  end
  for host, ids in pairs(let_go_of) do call_many('HDEL', key('r', host), ids) end
  return refused, skipped, applied
end

-- Commit a batch of which something was applied, and return what the fence refused.
local function told(kind, refused, skipped, applied, fields)
  if applied > 0 then
    note_refused(skipped, fields)
    commit(kind, fields)
  end
  return refused
end

-- complete: running -> succeeded.  caller: TaskQueue.complete.  ARGV: now, retention_ms, host, batch [[id, attempt, result, usage]...],
--   and, where the host has something to teach, what tasks took [[queue, tasks, microseconds]...]
--   usage is [usd, tokens, calls] as the agent reported it, or nothing.
--   Keeps true: one result is recorded for a task, by the attempt that owns it; its dependents move in the same instant.
local function complete(keys, args)
  begin(keys, args)
  R.retention, R.host, R.first_here = tonumber(args[2]), args[3], '1\n' .. args[3] .. '\n'
  local refused, skipped, applied = each_owned(cmsgpack.unpack(args[4]), {succeeded = true}, function(task, item)
    call('HSET', task.name, 's', 'succeeded', 'r', item[3], 'z', R.stamp)
    if not task.plain then
      if task.V then resources.settle(task, item[4]) end
      if string.find(task.q, '@', 2, true) then routing.learn(task, true, item[4]) end
      if task.f > 0 then call('HDEL', task.name, 'e') end   -- the error of an earlier attempt is not this task's outcome
    end
    ended(task, 'succeeded', item[3])
  end, load_for_success)
  if args[5] and applied > 0 then learn(cmsgpack.unpack(args[5])) end
  return told('complete', refused, skipped, applied, {'h', args[3], 'b', args[4]})
end

-- fail: running -> delayed (another attempt follows) or failed (it was the last, or none can help: a dead letter).
--   caller: TaskQueue.fail.
--   ARGV: now, retention_ms, host, batch [[id, attempt, failure, retry_delay_ms, final, usage, provider, later, crash]...]
--   With a provider ('': that of the task) it was told to come back later, which is no failure; so it is with `later`, whoever said
--   it. With a `crash` it took its agent down, which may show that the task is poison (58_healing.lua).
local function fail(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local exhausted = {}
  local refused, skipped, applied = each_owned(cmsgpack.unpack(args[4]), {failed = true, delayed = true}, function(task, item)
    local failures, rates, lacking, excused = task.f + 1, {}, nil, false
    if task.V then rates, lacking = resources.settle(task, item[6]) end
    if not (item[7] or item[8]) and string.find(task.q, '@', 2, true) then
      excused = routing.blame(task, item[3], item[6], item[5] or failures > task.m)
      if excused then failures = task.f end
    end
    local poison, why = item[9] and healing.crashed(task, item[9], item[4]), item[3]
    if item[7] then
      resources.wait_for_provider(task, rates, item[7], item[4])
    elseif item[8] then
      call('HSET', key('t', task.id), 's', 'delayed')
      call('ZADD', P .. ':delayed', R.now + item[4], task.id)
      effect(task.id, 'delayed', cmsgpack.pack(R.now + item[4]))
    elseif not excused and (poison or item[5] or failures > task.m) then
      why = poison or why
      call('HSET', key('t', task.id), 's', 'failed', 'f', failures, 'e', why, 'z', R.now)
      dead_letter(task)
      effect(task.id, 'failed', why)
      ended(task, 'failed', nil, why)
      if item[5] and lacking then exhausted[#exhausted + 1] = {task, lacking} end
    else
      call('HSET', key('t', task.id), 's', 'delayed', 'f', failures, 'e', item[3])
      call('ZADD', P .. ':delayed', R.now + item[4], task.id)
      effect(task.id, 'delayed', cmsgpack.pack(R.now + item[4]))
      count('retried')
      if item[9] then healing.retried(task, item[9]) end
    end
  end)
  for _, each in ipairs(exhausted) do resources.stop_workflow(each[1], each[2]) end
  return told('fail', refused, skipped, applied, {'h', args[3], 'b', args[4]})
end

-- give_back: running -> queued, no blame.  caller: a host that drains.  ARGV: now, host, batch [[id, attempt, usage]...]
local function give_back(keys, args)
  begin(keys, args)
  local refused, skipped, applied = each_owned(cmsgpack.unpack(args[3]), {queued = true}, function(task, item)
    if task.V then resources.settle(task, item[3]) end
    call('HSET', key('t', task.id), 's', 'queued')
    ready_again(task)
    effect(task.id, 'queued')
  end)
  return told('give_back', refused, {}, applied, {'h', args[2]})
end

-- step: keep the result of a named piece of an attempt.  caller: TaskQueue.journal_steps.
--   ARGV: now, batch [[id, attempt, name, result]...].  Keeps true: the first result of a name stands.
local function step(keys, args)
  begin(keys, args)
  local refused, skipped, batch = {}, {}, cmsgpack.unpack(args[2])
  for i, item in ipairs(batch) do
    local task, why = owned(item[1], item[2], {})
    if task then
      call('HSETNX', key('s', task.id), item[3], item[4])
      if not task.S then call('HSET', key('t', task.id), 'S', 1, 'k', 1) end
    else
      skipped[#skipped + 1] = i - 1
      refused[#refused + 1] = i - 1
      refused[#refused + 1] = why
    end
  end
  return told('step', refused, skipped, #batch - #skipped, {'b', args[2]})
end

-- suspend: running -> waiting on sub-tasks, stored in the same instant; queued at once when all of them have ended.
--   caller: TaskQueue.suspend.  ARGV: now, retention_ms, host, client, id, attempt, ids to wait for, batch of new sub-tasks,
--   usage
--   returns [] | [refusal, id].  A sub-task that exists is left as it is, so a repeated spawn finds its first.
local function suspend(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local task, why = owned(args[5], tonumber(args[6]), {waiting = true})
  if not task then return why == 'same' and {} or {why, args[5]} end
  if task.v then resources.inherit(task) end
  if string.find(task.q or '', '@', 2, true) then routing.suspended(task) end
  local batch = cmsgpack.unpack(args[8])
  local refused, detail = add_batch(batch, args[4], true)
  if refused then return {refused, detail} end
  local known, children = {}, {}
  for _, index in ipairs(detail) do known[index + 1] = true end
  for i, t in ipairs(batch) do if not known[i] then children[#children + 1] = t[1] end end
  if #children > 0 then call_many('RPUSH', key('c', task.id), children) end
  local open = 0
  for _, child_id in ipairs(cmsgpack.unpack(args[7])) do
    local state = call('HGET', key('t', child_id), 's')
    if state and not TERMINAL[state] then
      call('RPUSH', key('d', child_id), '^' .. task.id)
      call('HSET', key('t', child_id), 'D', 1, 'k', 1)
      open = open + 1
    end
  end
  let_go(task)
  if task.V then resources.settle(task, args[9] and cmsgpack.unpack(args[9])) end
  call('HSET', key('t', task.id), 's', 'waiting', 'n', open, 'C', 1, 'k', 1)
  effect(task.id, 'waiting')
  if open == 0 then satisfy(task) end
  local fields = {'h', args[3], 'b', args[8]}
  note_refused(detail, fields)
  if args[9] and args[9] ~= '\147\0\0\0' then   -- not the msgpack of [0, 0, 0]
    fields[#fields + 1] = 'u'
    fields[#fields + 1] = cmsgpack.pack({task.id, tonumber(args[6]), cmsgpack.unpack(args[9])})
  end
  commit('suspend', fields)
  return {}
end

redis.register_function('amas1_complete', complete)
redis.register_function('amas1_fail', fail)
redis.register_function('amas1_give_back', give_back)
redis.register_function('amas1_step', step)
redis.register_function('amas1_suspend', suspend)
