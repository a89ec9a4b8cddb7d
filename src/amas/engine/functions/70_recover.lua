-- Putting a lost engine's work into a new one, as the records tell it. Caller of both: engine/recovery.py, journal.py.
--
--   P:mark   string   tells this engine's data from any other's, for as long as they exist
-- Shares: P:c:<id>, P:open, P:s:<id>, P:t:<id>, P:w:<id> and P:wt:<id> of 00_base.lua.

-- What the records know of a task may be a few claims behind the truth: the next attempt's number must be higher than any before.
local ATTEMPTS_UNRECORDED_MAX = 16

-- mark: ARGV: the mark to set where there is none.  returns the mark.
local function mark(keys, args)
  redis.call('SET', keys[1] .. ':mark', args[1], 'NX')
  return redis.call('GET', keys[1] .. ':mark')
end

-- Restore an open workflow; its counts are whole from the start, so that it can't seem to have ended before all its tasks are here.
local function restore_workflow(id, blob, root, created, counts, most, tenant)
  if call('HSETNX', key('w', id), 's', 'running') == 0 then return 0 end
  call('HSET', key('w', id), 'b', blob, 'c', created)
  if root ~= '' then call('HSET', key('w', id), 'root', root) end
  for name, n in pairs(counts) do call('HSET', key('w', id), name, n) end
  call('ZADD', P .. ':open', created, id)
  R.wf_news[#R.wf_news + 1] = {id, 'running'}   -- one that was paused goes on
  if (most or 0) > 0 then admission.enter(id, most, tenant) end
  return 1
end

local function claim_text(attempt, started)
  return string.format('%d\n\n\n%d', attempt, started > 0 and started or R.now)
end

-- Restore a task that has ended, for those that need its result.
local function restore_ended(t, listed)
  local id, options, attempt, state = t[1], t[5], t[6], t[9]
  local name = key('t', id)
  if call('EXISTS', name) == 1 then return 0 end
  call('HSET', name, 's', state, 'q', t[2], 'b', t[3], 'z', t[10], 'k', 1)
  if attempt > 0 then call('HSET', name, 'c', claim_text(attempt, t[8])) end
  if t[4] ~= 1 then call('HSET', name, 'p', t[4]) end
  if t[7] > 0 then call('HSET', name, 'f', t[7]) end
  if t[11] ~= '' then call('HSET', name, 'r', t[11]) end
  if t[12] ~= '' then call('HSET', name, 'e', t[12]) end
  for _, field in ipairs({'w', 'u', 'x'}) do
    if options[field] then call('HSET', name, field, options[field]) end
  end
  if options.w then
    listed[options.w] = listed[options.w] or {}
    table.insert(listed[options.w], id)
  elseif not options.u then
    let_fade({id = id}, state)
  end
  return 1
end

-- Give an open task, stored as if it were new, what it had: attempts, failures, steps, sub-tasks.
local function restore_past(t)
  local id, attempt, failures, steps, children = t[1], t[6], t[7], t[13], t[14]
  local name = key('t', id)
  call('HSET', name, 'c', claim_text(attempt + ATTEMPTS_UNRECORDED_MAX, t[8]), 'k', 1)
  if failures > 0 then call('HSET', name, 'f', failures) end
  if #steps > 0 then
    call_many('HSET', key('s', id), steps)
    call('HSET', name, 'S', 1)
  end
  if #children > 0 then
    call_many('RPUSH', key('c', id), children)
    call('HSET', name, 'C', 1)
  end
  if t[5].w then   -- its workflow has counted it already
    local workflow = tally(t[5].w)
    workflow.total, workflow.open = workflow.total - 1, workflow.open - 1
  end
  if t[9] ~= 'queued' and call('HGET', name, 's') == 'queued' then effect(id, 'queued') end
end

-- recover: store workflows, ended tasks and open ones that the engine doesn't know, in this order; what it knows is left as it is.
--   caller: Recovery.put.  ARGV: now, retention_ms, workflows [[id, blob, root id or '', created, {counter: n},
--   how many such may be open at a time (0: any), tenant]...],
--   ended tasks and open tasks, both [[id, queue, spec, priority, options, attempt (0: none), failures, first started (0: never),
--   state in the records, finished, result or '', failure or '', steps [name, result, name...], ids of its sub-tasks]...]
--   returns how many workflows, ended tasks and open tasks were stored.  Keeps true: a task whose workflow has ended here is cancelled. What a task needs, and its sub-tasks, must come
--   before it or with it.  cost: O(tasks + steps).
local function recover(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local stored, listed, batch, past = {0, 0, 0}, {}, {}, {}
  for _, t in ipairs(cmsgpack.unpack(args[5])) do
    if call('EXISTS', key('t', t[1])) == 0 then
      batch[#batch + 1] = {t[1], t[2], t[3], t[4], t[5]}
      past[#past + 1] = t
    end
  end
  for _, w in ipairs(cmsgpack.unpack(args[3])) do stored[1] = stored[1] + restore_workflow(unpack(w)) end
  for _, t in ipairs(cmsgpack.unpack(args[4])) do stored[2] = stored[2] + restore_ended(t, listed) end
  for workflow, ids in pairs(listed) do call_many('RPUSH', key('wt', workflow), ids) end
  local late = {}
  for i = #batch, 1, -1 do
    local workflow = batch[i][5].w
    if workflow and call('HGET', key('w', workflow), 's') ~= 'running' then
      late[#late + 1] = table.remove(batch, i)[1]
      table.remove(past, i)
    end
  end
  local refused, at_fault = add_batch(batch, '', true)
  if refused then return redis.error_reply('ERR recovery refused: ' .. refused .. ' ' .. at_fault) end
  for _, t in ipairs(past) do restore_past(t) end
  for _, id in ipairs(late) do effect(id, 'cancelled') end
  stored[3] = #past
  if stored[1] + stored[2] + stored[3] + #late > 0 then commit('recover', {}) end
  return stored
end

redis.register_function('amas1_mark', mark)
redis.register_function('amas1_recover', recover)
