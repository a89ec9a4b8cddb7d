-- Cancelling, ending, pausing and forgetting workflows; tasks whose time comes.

-- cancel: any open state -> cancelled, for single tasks.  caller: TaskQueue.cancel.  ARGV: now, retention_ms, ids
--   returns how many were open. A running one's host is told; its late result is refused by the fence.
local function cancel_tasks(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local n = 0
  for _, id in ipairs(cmsgpack.unpack(args[3])) do
    local task = load(id)
    if task and cancel(task) then n = n + 1 end
  end
  if n > 0 then commit('cancel', {}) end
  return n
end

-- end_workflow: running -> succeeded | failed | cancelled now; what is open is cancelled.
--   caller: TaskQueue.end_workflow.  ARGV: now, retention_ms, workflow, state.  returns 1, or 0 when it had ended or is unknown.
--   What it did is undone first, where it failed or was cancelled and that was asked for.  cost: O(its tasks, 500 of them at once).
local function finish_workflow(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  if call('HGET', key('w', args[3]), 's') ~= 'running' then return 0 end
  decide(args[3], args[4], false)
  commit('end', {})
  return 1
end

-- pause: nothing new of a workflow is claimed.  caller: Workflows.pause.  ARGV: now, workflow
--   returns 1, or 0 when it was paused before or isn't open.  cost: none; what is queued is set aside when `claim` meets it.
local function pause(keys, args)
  begin(keys, args)
  local id = args[2]
  local w = call('HMGET', key('w', id), 's', 'paused')
  if w[1] ~= 'running' or w[2] then return 0 end
  call('HSET', key('w', id), 'paused', 1)
  call('SADD', P .. ':held', id)
  R.wf_news[1] = {id, 'paused'}
  commit('pause', {})
  return 1
end

-- resume: a paused workflow goes on, in its old order.  caller: Workflows.resume.  ARGV: now, workflow.  returns 1, or 0 when it wasn't paused.
local function resume(keys, args)
  begin(keys, args)
  local id = args[2]
  if call('HDEL', key('w', id), 'paused') == 0 then return 0 end
  local waits = (call('HGET', key('w', id), 'admission') or 'in') ~= 'in'
  if not waits then
    call('SREM', P .. ':held', id)
    take_up(id, true)
  end
  R.wf_news[1] = {id, waits and 'waiting' or 'running'}
  commit('pause', {})
  return 1
end

-- Forget ended tasks outside any workflow whose time has come, up to about `limit`; returns how many.
local function forget_tasks(now, limit)
  local name, n = P .. ':gone', 0
  while n < limit do
    local due, ids = string.match(call('LINDEX', name, 0) or '', '^(%d+)\n(.*)$')
    if not due or tonumber(due) > now then break end
    call('LPOP', name)
    local keys = {}
    for mark, id in string.gmatch(ids, '([+!]?)([^\n]+)') do
      -- One that failed may have been put back; then it ends, and is noted, once more.
      if mark ~= '!' or TERMINAL[call('HGET', key('t', id), 's') or ''] then
        keys[#keys + 1] = key('t', id)
        if mark ~= '' then
          for _, kind in ipairs({'s', 'd', 'c'}) do keys[#keys + 1] = key(kind, id) end
        end
        if mark == '!' then call('ZREM', P .. ':dead', id) end
      end
      n = n + 1
    end
    for first = 1, #keys, 1000 do call('UNLINK', unpack(keys, first, math.min(first + 999, #keys))) end
  end
  if n > 0 then call('HINCRBY', P .. ':totals', 'kept', -n) end
  return n
end

-- Forget an ended workflow, up to `limit` of its tasks in one call; returns how many those were, and 1 for itself.
local function forget_workflow(id, limit)
  local ids = call('LPOP', key('wt', id), limit) or {}
  local keys = {}
  for _, task in ipairs(ids) do
    for _, kind in ipairs({'t', 's', 'd', 'c'}) do keys[#keys + 1] = key(kind, task) end
  end
  for first = 1, #keys, 1000 do call('UNLINK', unpack(keys, first, math.min(first + 999, #keys))) end
  if #ids > 0 then call_many('ZREM', P .. ':dead', ids) end
  if #ids >= limit then   -- there may be more, and it can't be opened again any more
    call('HSET', key('w', id), 'forgotten', 1)
    return #ids
  end
  call('DEL', key('w', id), key('ws', id), key('wu', id), key('wp', id))
  call('ZREM', P .. ':ended', id)
  return #ids + 1
end

-- forget: remove what ended long ago; the records keep it.  caller: the timers.  ARGV: now, workflows at most, tasks at most
--   returns how many tasks and workflows were removed: less than `tasks` when no more are due.  cost: O(tasks).
local function forget(keys, args)
  local now = begin(keys, args)
  local limit, n = tonumber(args[3] or 1000), 0
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. ':ended', '-inf', now, 'LIMIT', 0, args[2])) do
    if n >= limit then break end
    n = n + forget_workflow(id, limit - n)
  end
  return n + forget_tasks(now, limit - n)
end

-- promote: delayed -> queued for those whose time has come; a timer -> succeeded.  caller: the timers.
--   ARGV: now, limit, retention_ms (an hour where it is missing)
--   returns how many, and when the next is due (0: none).
local function promote(keys, args)
  local now = begin(keys, args)
  R.retention = tonumber(args[3]) or 3600000
  local ids = call('ZRANGEBYSCORE', P .. ':delayed', '-inf', now, 'LIMIT', 0, args[2])
  for _, id in ipairs(ids) do
    call('ZREM', P .. ':delayed', id)
    local task = load(id)
    if task and task.s == 'delayed' and task.W == 'timer' then
      succeed(task, NIL)
    elseif task and task.s == 'delayed' then
      call('HSET', key('t', id), 's', 'queued')
      queue_up(task)
      effect(id, 'queued')
    end
  end
  if #ids > 0 then commit('promote', {}) end
  local head = call('ZRANGE', P .. ':delayed', 0, 0, 'WITHSCORES')
  return {#ids, tonumber(head[2] or 0)}
end

-- trim: drop entries of the journal that the records hold, except for the newest `keep` of them.  caller: Journal.trim.
--   ARGV: recorded id, keep, step.  returns how many were dropped.  Keeps true: what is not recorded stays. With `step` or more
--   entries unrecorded nothing is dropped; a later call will.  cost: O(unrecorded, less than step; dropped).
local function trim(keys, args)
  local name = keys[1] .. ':journal'
  local unrecorded = #call('XRANGE', name, '(' .. args[1], '+', 'COUNT', args[3])
  if unrecorded >= tonumber(args[3]) then return 0 end
  return call('XTRIM', name, 'MAXLEN', args[2] + unrecorded)
end

redis.register_function('amas1_cancel', cancel_tasks)
redis.register_function('amas1_end_workflow', finish_workflow)
redis.register_function('amas1_pause', pause)
redis.register_function('amas1_resume', resume)
redis.register_function('amas1_forget', forget)
redis.register_function('amas1_promote', promote)
redis.register_function('amas1_trim', trim)
