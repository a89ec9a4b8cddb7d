-- How tasks end and what follows from it; what every transition writes at its end.

local function tally(workflow)
  local t = R.wf[workflow]
  if not t then
    t = {total = 0, open = 0, succeeded = 0, failed = 0, cancelled = 0, bad = 0, halted = 0}
    R.wf[workflow] = t
  end
  return t
end

local NIL = '\192'   -- msgpack's nil

-- Note that an ended task outside any workflow can be forgotten in time. '+' before those that have more than their hash, '!' before
-- those that may be put back.
local function let_fade(task, state)
  local mark = state ~= 'succeeded' and '!' or (task.S or task.D or task.C) and '+'
  R.gone[#R.gone + 1] = mark and mark .. task.id or task.id
end

-- Leave work to a later call: `tend` takes it up.  `kind`: 'ends' (what waits on the end of task `id`, which stands in `state`),
-- 'cancel' (what is open in workflow `id`), 'resume' (the tasks of workflow `id` that were met while it was held),
-- 'kill' (what killed agents run).
local function chore(kind, id, state)
  call('RPUSH', P .. ':chores', cmsgpack.pack({kind, id, R.retention, state}))
end

-- What an end means to those that a task has to do with. `task` needs id, w, u, x, D, C, S, X's.
local function follow_up(task, state)
  if task.E then call('ZREM', P .. ':expiring', task.id) end
  if task.O and state == 'succeeded' then call('LPUSH', key('wu', task.w), task.O) end
  if task.w then
    local t = tally(task.w)
    if not task.o or task.U then t.open = t.open - 1 end   -- a compensation that nobody asked for isn't open
    t[state] = t[state] + 1
    if not task.u and not task.o then   -- a sub-task's end is its parent's business, and a compensation's nobody's
      if state == 'failed' and task.x ~= 'skip' then t.bad = t.bad + 1 elseif state == 'cancelled' then t.halted = t.halted + 1 end
    end
  elseif not task.u then   -- a sub-task outside a workflow stays as long as its parent
    let_fade(task, state)
  end
  if task.D or task.C then R.ends[#R.ends + 1] = {task, state} end
end

-- Note that a task has ended; `result` and `failure` are blobs or nil. A `plain` task succeeded, and its end concerns its submitter only.
local function ended(task, state, result, failure)
  count(state)
  if task.plain then R.gone[#R.gone + 1] = task.id else follow_up(task, state) end
  local client = task.y
  if client and client ~= '' then
    local parts = R.replies[client]
    if not parts then parts = {}; R.replies[client] = parts; R.reply_counts[client] = 0 end
    R.reply_counts[client] = R.reply_counts[client] + 1
    local n = #parts   -- pieces, joined once: a joined string of each outcome would be hashed and copied once more
    parts[n + 1], parts[n + 2], parts[n + 3] = '\148' .. packed_text(task.id) .. packed_text(state), result or NIL, failure or NIL
  end
end

local FIELDS = {'s', 'c', 'w', 'u', 'x', 'y', 'D', 'C', 'S', 'q', 'p', 'm', 'f', 'l', 'T', 'K', 'X', 'v', 'V'}

-- What a task's last claim says: attempt (0 before the first), host, agent, when the first attempt started.
local function claim_of(text)
  if not text then return 0 end
  local attempt, host, agent, started = string.match(text, '^(%d+)\n([^\n]*)\n([^\n]*)\n(.*)$')
  return tonumber(attempt), host, agent, started
end

-- Read what transitions need of a task; nil when there is none.
local function load(id)
  local name = key('t', id)
  local v = call('HMGET', name, unpack(FIELDS))
  if not v[1] then return nil end
  local attempt, host = claim_of(v[2])
  local task = {id = id, name = name, s = v[1], a = attempt, h = host, w = v[3], u = v[4], x = v[5], y = v[6], D = v[7], C = v[8], S = v[9],
          q = v[10], p = tonumber(v[11]) or 1, m = tonumber(v[12]) or RETRIES, f = tonumber(v[13]) or 0, l = tonumber(v[14]) or 0,
          T = v[15] or nil, K = tonumber(v[16] or nil), v = v[18], V = v[19]}
  if v[17] then
    local more = call('HMGET', name, 'W', 'Q', 'E', 'o', 'O', 'U', 'B')
    task.W, task.Q, task.E, task.o, task.O, task.U, task.B = unpack(more, 1, 7)
  end
  return task
end

-- Read only what the success needs of a task that nothing hangs on, in its first attempt, by the host that claimed it: most are so
-- (`plain`), and more fields cost more than the rest of their end.
local function load_for_success(id)
  local name = key('t', id)
  local v = call('HMGET', name, 's', 'c', 'y', 'k')
  if not v[1] then return nil end
  if v[4] or not v[2] or string.sub(v[2], 1, #R.first_here) ~= R.first_here then return load(id) end
  return {id = id, name = name, s = v[1], a = 1, h = R.host, y = v[3], plain = true}
end

-- The fence: the task if `attempt` owns it, else nil and why not ('same': this very outcome was recorded before, so the task
-- stands in a state of the set `outcomes`).
local function owned(id, attempt, outcomes, read)
  local task = (read or load)(id)
  if not task then return nil, 'unknown' end
  if task.s == 'running' and task.a == attempt then return task end
  if task.s == 'cancelled' then return nil, 'cancelled' end
  if task.a == attempt and outcomes[task.s] then return nil, 'same' end
  return nil, 'stale'
end

-- Note a change for the journal; `extra` is msgpack: a failure, or the time when a delayed task is due.
local function effect(id, state, extra)
  R.fx[#R.fx + 1] = '\147' .. packed_text(id) .. packed_text(state) .. (extra or NIL)
end

local function failure(code, message) return cmsgpack.pack({code, message, ''}) end

-- running -> nothing: the host lets go of it.
local function let_go(task) if task.h then call('HDEL', key('r', task.h), task.id) end end

-- Put a failed task on the list that people look at; it leaves it when the task itself is forgotten.
local function dead_letter(task) call('ZADD', P .. ':dead', R.now, task.id) end

-- waiting or running -> failed without a word from an agent: what it needs didn't succeed, or its hosts die.
local function abandon(task, code, message)
  local blob = failure(code, message)
  if task.V then resources.leave(task) end
  call('HSET', key('t', task.id), 's', 'failed', 'e', blob, 'z', R.now)
  effect(task.id, 'failed', blob)
  ended(task, 'failed', nil, blob)
end

-- Take an open task out of where it stands; a host that runs it is told to stop.
local function take_out(task)
  if task.V then resources.leave(task) end
  if task.s == 'queued' then
    if call('ZREM', key('q', task.q), task.id) == 0 and task.w then call('ZREM', key('wp', task.w), task.id) end
  elseif task.s == 'delayed' then call('ZREM', P .. ':delayed', task.id)
  elseif task.s == 'running' then
    let_go(task)
    local stops = R.stops[task.h] or {}
    stops[#stops + 1] = task.id
    R.stops[task.h] = stops
  end
end

-- any open state -> cancelled; returns whether it was open. `outlived`: it would go on if what it belongs to were opened again.
local function cancel(task, outlived)
  if TERMINAL[task.s] then return false end
  take_out(task)
  if outlived then call('HSET', key('t', task.id), 's', 'cancelled', 'z', R.now, 'Z', 1)
  else call('HSET', key('t', task.id), 's', 'cancelled', 'z', R.now) end
  effect(task.id, 'cancelled')
  ended(task, 'cancelled')
  return true
end

-- waiting or delayed -> succeeded without an attempt: a timer or a signal.
local function succeed(task, result)
  call('HSET', key('t', task.id), 's', 'succeeded', 'r', result, 'z', R.now)
  effect(task.id, 'succeeded', result)
  ended(task, 'succeeded', result)
end

-- waiting -> succeeded, or failed where the answer is a refusal; `answer` is [payload, failure or ''].
local function answer_signal(task, answer)
  local payload, why = unpack(cmsgpack.unpack(answer))
  if why == '' then return succeed(task, payload) end
  call('HSET', key('t', task.id), 's', 'failed', 'e', why, 'z', R.now)
  effect(task.id, 'failed', why)
  ended(task, 'failed', nil, why)
end

-- The needs of a signal have ended: it takes the answer that has come already, or waits for it from now on.
local function ask(task)
  if task.B then return answer_signal(task, task.B) end
  if task.E then call('ZADD', P .. ':expiring', R.now + task.E, task.id) end
end

-- Queue a task for which nothing stands in the way any more, new or begun before.
local function queue_up(task)
  if task.a > 0 then return ready_again(task) end
  local queue, why = ready(task.id, routing.home(task.q), task.p, task.T, task.w, task.K)
  if queue ~= task.q or why then routing.note_place(task, queue, why) end
end

-- waiting -> queued, or delayed where a delay was asked for, as timers do.
local function satisfy(task)
  if task.Q then call('HDEL', key('t', task.id), 'i') end
  if task.W == 'signal' then return ask(task) end
  local delay = call('HGET', key('t', task.id), 'd')
  if task.W and delay == '0' then return succeed(task, NIL) end   -- it only stood for its needs
  if delay then
    call('HSET', key('t', task.id), 's', 'delayed')
    if not task.W then call('HDEL', key('t', task.id), 'd') end
    call('ZADD', P .. ':delayed', R.now + delay, task.id)
    effect(task.id, 'delayed', cmsgpack.pack(R.now + delay))
    return
  end
  call('HSET', key('t', task.id), 's', 'queued')
  queue_up(task)
  effect(task.id, 'queued')
end

-- One of the needs of a task with a quorum has ended: it runs when enough have succeeded, and fails when too few are left.
local function count_vote(other, well, need)
  local name = key('t', other.id)
  local missing = tonumber(call('HGET', name, 'i'))
  if not missing then return end   -- it had its quorum before
  local open = call('HINCRBY', name, 'n', -1)
  if well then missing = call('HINCRBY', name, 'i', -1) end
  if missing <= 0 then satisfy(other)
  elseif open < missing then
    abandon(other, 'dependency_failed', 'too few of the tasks that it needs can still succeed; the last one that didn\'t: ' .. need)
  end
end

-- Tell up to `R.budget` of those that wait on a task that it ended; returns whether more of them are left.
local function settle_dependents(task, state)
  local dependents = call('LPOP', key('d', task.id), R.budget) or {}
  for _, entry in ipairs(dependents) do
    local first = string.byte(entry)
    local parent, votes = first == 94, first == 63   -- '^', '?'
    local other = load((parent or votes) and string.sub(entry, 2) or entry)
    if other and other.s == 'waiting' then
      if votes then count_vote(other, state == 'succeeded', task.id)
      elseif parent or state == 'succeeded' or task.x == 'skip' then
        if call('HINCRBY', key('t', other.id), 'n', -1) <= 0 then satisfy(other) end
      else
        abandon(other, 'dependency_failed', 'a task that it needs ' .. (state == 'failed' and 'failed' or 'was cancelled') .. ': ' .. task.id)
      end
    end
  end
  R.budget = R.budget - #dependents
  return R.budget <= 0 and call('EXISTS', key('d', task.id)) == 1
end

-- What a task spawned ends with it, whatever its own end: nobody is left who could use the result. Cancels up to `R.budget` of
-- them and returns whether more are left.
local function settle_children(task)
  local children = call('LPOP', key('c', task.id), R.budget) or {}
  for _, id in ipairs(children) do
    local child = load(id)
    if child and (not child.o or child.U) then   -- a compensation may be asked for until the workflow has ended
      cancel(child, true)
      if not task.w then let_fade(child, child.s) end
    end
  end
  R.budget = R.budget - #children
  return R.budget <= 0 and call('EXISTS', key('c', task.id)) == 1
end

-- Follow every end to what waits on it, as far as the budget goes; the rest is left to `tend`. A stack and not recursion: a chain
-- may be 100,000 long.
local function settle_ends()
  while #R.ends > 0 do
    local task, state = unpack(table.remove(R.ends))
    local more = R.budget <= 0
    if not more and task.C then more = settle_children(task) end
    if not more and task.D then more = settle_dependents(task, state) end
    if more then chore('ends', task.id, state) end
  end
end

local function end_workflow(id, state)
  local name = key('w', id)
  call('HSET', name, 's', state, 'z', R.now)
  call('ZREM', P .. ':open', id)
  call('ZADD', P .. ':ended', R.now + R.retention, id)
  count('workflows_' .. state)
  R.wf_news[#R.wf_news + 1] = {id, state}
  local v = call('HMGET', name, 'y', 'root', 'admission')
  if v[3] then admission.leave(id, v[3]) end
  if v[1] and v[1] ~= '' then
    local parts = R.replies[v[1]] or {}
    R.replies[v[1]] = parts
    R.reply_counts[v[1]] = (R.reply_counts[v[1]] or 0) + 1
    local outcome = v[2] and call('HMGET', key('t', v[2]), 'r', 'e') or {}
    parts[#parts + 1] = '\148' .. cmsgpack.pack(id, state) .. (outcome[1] or NIL) .. (outcome[2] or call('HGET', name, 'e') or NIL)
  end
end

-- Start the compensation of what succeeded last and wasn't undone yet; the workflow ends when there is none.
local function next_compensation(id)
  while true do
    local compensation = call('LPOP', key('wu', id))
    local task = compensation and load(compensation)
    if not compensation then return end_workflow(id, call('HGET', key('w', id), 'v')) end
    if task and task.s == 'waiting' then
      call('HSET', key('t', task.id), 'U', 1)
      if task.E then call('ZADD', P .. ':expiring', R.now + task.E, task.id) end
      tally(id).open = tally(id).open + 1
      return satisfy(task)
    end
  end
end

-- Whether a task of a workflow that ends in `state` stays as it is: it will undo one that has succeeded.
local function will_undo(task, state)
  return task.o and state ~= 'succeeded' and not TERMINAL[task.s] and call('HGET', key('t', task.o), 's') == 'succeeded'
end

-- Cancel what is open in a workflow that is decided, as far as the budget goes; nothing of it is claimed until that is through.
local function cancel_open(id)
  local name, tasks = key('w', id), key('wt', id)
  local w = call('HMGET', name, 's', 'v', 'at', 'paused')
  local at, state = tonumber(w[3]) or 0, w[1] == 'compensating' and w[2] or w[1]
  local ids = R.budget > 0 and call('LRANGE', tasks, at, at + R.budget - 1) or {}
  for _, task_id in ipairs(ids) do
    local task = load(task_id)
    if task and not will_undo(task, state) then cancel(task, true) end
  end
  R.budget, at = R.budget - #ids, at + #ids
  if at < call('LLEN', tasks) then
    call('HSET', name, 'at', at)
    call('SADD', P .. ':held', id)
    return chore('cancel', id)
  end
  if w[3] or w[4] then
    call('HDEL', name, 'at', 'paused')
    call('SREM', P .. ':held', id)
  end
  if w[1] == 'compensating' then next_compensation(id) end
end

-- running -> its end, or compensating before that where it failed with things done that can be undone.
local function decide(id, state, idle)
  local name = key('w', id)
  local w = call('HMGET', name, 'o', 'paused')
  if w[1] and state ~= 'succeeded' and call('EXISTS', key('wu', id)) == 1 then
    call('HSET', name, 's', 'compensating', 'v', state)
    R.wf_news[#R.wf_news + 1] = {id, 'compensating'}
  else
    end_workflow(id, state)
  end
  if not idle or w[1] or w[2] then cancel_open(id) end
end

-- The state in which a workflow ends now, or nil while it goes on: its root's, or that of all its tasks where it has none.
local function verdict(workflow, open)
  local root = workflow[4] and call('HGET', key('t', workflow[4]), 's')
  if root then return TERMINAL[root] and root or nil end
  if open > 0 then return nil end
  if tonumber(workflow[2] or 0) > 0 then return 'failed' end
  return tonumber(workflow[3] or 0) > 0 and 'cancelled' or 'succeeded'
end

-- Add up what the call did to each workflow and end those that are decided. Ending one cancels tasks, which may touch
-- this workflow again and others, so it goes on until nothing is left.
local function settle_workflows()
  while next(R.wf) do
    local id, t = next(R.wf)
    R.wf[id] = nil
    local name = key('w', id)
    local open = call('HINCRBY', name, 'open', t.open)
    for field, n in pairs(t) do
      if n ~= 0 and field ~= 'open' then call('HINCRBY', name, field, n) end
    end
    -- What was reset and ended again in this call adds up to no end; then it counts that nothing is open.
    if t.succeeded + t.failed + t.cancelled > 0 or (open <= 0 and t.total == 0) then
      local workflow = call('HMGET', name, 's', 'bad', 'halted', 'root', 'at')
      local state = workflow[1] == 'running' and verdict(workflow, open)
      if state then
        decide(id, state, open <= 0)
        settle_ends()
      elseif workflow[1] == 'compensating' and open <= 0 and not workflow[5] then
        next_compensation(id)
      end
    end
  end
end

-- Tell the journal's readers which indices of a batch changed nothing.
local function note_refused(refused, fields)
  if #refused > 0 then fields[#fields + 1] = 'x'; fields[#fields + 1] = cmsgpack.pack(refused) end
end

-- Write what the call gathered: queues, workflows, journal; then tell those who wait. `fields` go into the journal's entry.
local function commit(kind, fields)
  settle_ends()
  settle_workflows()
  if R.res then resources.flush() end
  if R.outcomes then routing.flush() end
  local queues = write_queues()
  if #R.gone > 0 then
    call('RPUSH', P .. ':gone', string.format('%d\n', R.now + R.retention) .. table.concat(R.gone, '\n'))
    count('kept', #R.gone)
  end
  for name, n in pairs(R.totals) do call('HINCRBY', P .. ':totals', name, n) end
  if #R.fx > 0 then fields[#fields + 1] = 'fx'; fields[#fields + 1] = array_header(#R.fx) .. table.concat(R.fx) end
  if #R.wf_news > 0 then fields[#fields + 1] = 'wf'; fields[#fields + 1] = cmsgpack.pack(R.wf_news) end
  call('XADD', P .. ':journal', '*', 'k', kind, 't', R.now, unpack(fields))
  if #queues > 0 then call('PUBLISH', P .. ':bell', table.concat(queues, '\n')) end
  for client, parts in pairs(R.replies) do
    call('PUBLISH', key('reply', client), array_header(R.reply_counts[client]) .. table.concat(parts))
  end
  for host, ids in pairs(R.stops) do call('PUBLISH', key('host', host), table.concat(ids, '\n')) end
end
