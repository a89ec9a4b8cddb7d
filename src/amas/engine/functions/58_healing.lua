-- What is remembered of crashes and recoveries.
--
--   P:t:<id> of 00_base.lua, field H   msgpack of {agent -> whether it was sound}: the agents that the task has crashed; absent
--                       for most tasks
--   P:recovering hash   what failed and hasn't been made good: name -> msgpack of [since (ms), cause, subject, [task ids]]; it is over
--                       as soon as none of these tasks is queued or delayed
--   P:recoveries stream at, cause, subject, ms, tasks: the newest KEPT recoveries
--   P:recovered  hash   <cause>:<bucket> how many, <cause>:ms how long together: since the engine began
-- Shares: P:h:<host> and P:hosts of 00_base.lua;
--         P:choosy of 08_choices.lua.

do
  local POISONED = 3          -- as in model/healing.py
  local KEPT = 1000
  local TASKS_WATCHED = 1000  -- of one host: whether a thousand run again says it of all
  local LATE_MS = 60000       -- how long such a task may stand in its queue until somebody claims it
  local ELSEWHERE_MS = 5000   -- for so long a task that crashed an agent waits for another one

  -- Note a failure that will be made good when none of `ids` waits any more.
  function healing.begin(name, since, cause, subject, ids)
    call('HSET', P .. ':recovering', name, cmsgpack.pack({since, cause, subject, ids}))
  end

  -- Note which tasks a lost host leaves; its lease tells when it was last heard of.
  function healing.host_lost(host, running)
    local ends, lease = call('ZSCORE', P .. ':hosts', host), call('HGET', key('h', host), 'lease')
    local since, ids = R.now, {}
    if ends and lease then since = math.min(tonumber(ends) - tonumber(lease), R.now) end
    for i = 1, math.min(#running, 2 * TASKS_WATCHED), 2 do ids[#ids + 1] = running[i] end
    healing.begin('host:' .. host, since, 'host_lost', host, ids)
  end

  local function is_poison(id)
    local why = call('HGET', key('t', id), 'e')
    return why and cmsgpack.unpack(why)[1] == 'poison'
  end

  -- Note that a task took its agent down.
  --   `crash`: [agent, ids of what else has crashed it since it did well, ms without a sign of life, is there another agent]
  --   returns the failure to end the task with when it has crashed too many sound agents, else nil.
  function healing.crashed(task, crash, delay_ms)
    local held = call('HGET', key('t', task.id), 'H')
    local agents, sound, named = held and cmsgpack.unpack(held) or {}, 0, {}
    local witness = true   -- a sound agent
    for _, id in ipairs(crash[2]) do witness = witness and is_poison(id) end
    agents[crash[1]] = witness or agents[crash[1]] or false
    for agent, was_sound in pairs(agents) do
      named[#named + 1] = agent
      if was_sound then sound = sound + 1 end
    end
    table.sort(named)
    if sound >= POISONED then
      return failure('poison', 'it crashed ' .. sound .. ' agents that did well otherwise, so the task is the cause: ' .. table.concat(named, ', '))
    end
    call('HSET', key('t', task.id), 'H', cmsgpack.pack(agents))
    local choice = call('HGET', key('t', task.id), 'A')
    if crash[4] and not (choice and cmsgpack.unpack(choice)[2]) then   -- it has no agents of its own choice
      call('HSET', key('t', task.id), 'A', cmsgpack.pack({ELSEWHERE_MS, false, named}))
      local looked_for_ms = delay_ms + ELSEWHERE_MS + LATE_MS   -- claims look for such a field no longer than it may matter
      if call('PTTL', P .. ':choosy') < looked_for_ms then call('SET', P .. ':choosy', 1, 'PX', looked_for_ms) end
    end
    return nil
  end

  -- Note that a stuck attempt's task will be tried again.
  function healing.retried(task, crash)
    if crash[3] > 0 then healing.begin('task:' .. task.id, R.now - crash[3], 'agent_stuck', crash[1], {task.id}) end
  end

  -- recovered: something that failed was made good.  caller: Recoveries.note.
  --   ARGV: now, name in P:recovering or '' for what isn't there, cause, subject, since (ms), tasks, bucket of its duration
  --   returns 1, or 0 when somebody else has noted it already.
  local function recovered(keys, args)
    local now = begin(keys, args)
    if args[2] ~= '' and call('HDEL', P .. ':recovering', args[2]) == 0 then return 0 end
    local ms = string.format('%d', math.max(0, now - tonumber(args[5])))
    call('XADD', P .. ':recoveries', 'MAXLEN', '~', KEPT, '*', 'at', R.stamp, 'cause', args[3], 'subject', args[4], 'ms', ms, 'tasks', args[6])
    call('HINCRBY', P .. ':recovered', args[3] .. ':' .. args[7], 1)
    call('HINCRBY', P .. ':recovered', args[3] .. ':ms', ms)
    return 1
  end

  redis.register_function('amas1_recovered', recovered)
end
