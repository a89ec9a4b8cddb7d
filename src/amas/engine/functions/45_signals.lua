-- Signals, and tasks whose time is up.

-- The same answer twice is accepted once; another one is refused.
local function said_before(held, answer) return held == answer and 'ok' or 'answered' end

-- Keep an answer for a signal task that isn't submitted yet, in a workflow that may still get it.
local function keep_early(workflow, name, held, answer)
  if held then return said_before(string.sub(held, 2), answer) end
  local state = call('HGET', key('w', workflow), 's')
  if state ~= 'running' and state ~= 'compensating' then return 'unknown' end
  call('HSET', key('ws', workflow), name, '!' .. answer)
  return 'ok'
end

-- signal: answer a signal task: waiting -> succeeded, or failed by a refusal.  caller: Workflows.signal, .signal_key.
--   ARGV: now, retention_ms, task (or workflow), key ('' with a task), payload (msgpack), failure ('' unless it is a refusal)
--   returns 'ok' | 'unknown' | 'no_signal' | 'ended' | 'answered'.  Keeps true: the first answer stands; one that comes before
--   the task, or before its needs have ended, is kept for it.
local function signal(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local id, answer = args[3], cmsgpack.pack({args[5], args[6]})
  if args[4] ~= '' then
    local held = call('HGET', key('ws', id), args[4])
    if not held or string.byte(held) == 33 then return keep_early(id, args[4], held, answer) end   -- '!'
    id = string.sub(held, 2)
  end
  local task = load(id)
  if not task then return 'unknown' end
  if task.W ~= 'signal' then return 'no_signal' end
  if task.B then return said_before(task.B, answer) end
  if task.s ~= 'waiting' then return 'ended' end
  call('HSET', key('t', id), 'B', answer)
  if tonumber(call('HGET', key('t', id), 'n') or 0) > 0 and not (task.Q and call('HEXISTS', key('t', id), 'i') == 0) then return 'ok' end
  answer_signal(task, answer)
  commit('signal', {})
  return 'ok'
end

-- expire: any open state -> failed for tasks whose time is up.  caller: the timers.  ARGV: now, retention_ms, limit
--   returns how many were looked at, and when the next is due (0: none). The host of a running one is told to stop it.
local function expire_tasks(keys, args)
  local now = begin(keys, args)
  R.retention = tonumber(args[2])
  local name = P .. ':expiring'
  local ids = call('ZRANGEBYSCORE', name, '-inf', now, 'LIMIT', 0, args[3])
  if #ids > 0 then call_many('ZREM', name, ids) end
  for _, id in ipairs(ids) do
    local task = load(id)
    if task and not TERMINAL[task.s] then
      take_out(task)
      if task.W == 'signal' then abandon(task, 'expired', 'nobody answered in time')
      else
        if not task.W then dead_letter(task) end
        abandon(task, 'deadline_exceeded', 'its time was up before it had succeeded')
      end
    end
  end
  if #ids > 0 then commit('expire', {}) end
  local head = call('ZRANGE', name, 0, 0, 'WITHSCORES')
  return {#ids, tonumber(head[2] or 0)}
end

redis.register_function('amas1_signal', signal)
redis.register_function('amas1_expire', expire_tasks)
