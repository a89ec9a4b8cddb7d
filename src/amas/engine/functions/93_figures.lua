-- What the fleet's figures need of the engine, at one moment and in one call.
-- Shares: P:totals, P:open, P:delayed, P:dead, P:queues, P:q:<queue>, P:bounds and P:journal of 00_base.lua.
-- Shares: P:lobby of 16_admission.lua.
-- Shares: P:desired of 55_desired.lua.

do
  -- figures: look at them.  caller: FiguresLook.read.
  --   ARGV: the revision of the desired state that the caller has or -1, the id of the journal's last entry that is recorded or ''
  --   returns [totals, [open workflows, waiting ones, delayed tasks, dead letters], depths of queues that aren't empty, bounds of
  --   queues, the desired state or nil where the caller has it, when the oldest entry was written that isn't recorded (ms, 0: none)];
  --   totals, depths, bounds and the desired state as name and value by turns.
  --   Changes nothing.  cost: O(queues ever used).
  local function figures(keys, args)
    local ask, P = redis.call, keys[1]
    local sizes, queued, desired, behind_ms = {}, {}, false, 0
    for i, name in ipairs({P .. ':open', P .. ':lobby', P .. ':delayed', P .. ':dead'}) do sizes[i] = ask('ZCARD', name) end
    for _, queue in ipairs(ask('SMEMBERS', P .. ':queues')) do
      local depth = ask('ZCARD', P .. ':q:' .. queue)
      if depth > 0 then
        queued[#queued + 1] = queue
        queued[#queued + 1] = depth
      end
    end
    if (ask('HGET', P .. ':desired', 'rev') or '0') ~= args[1] then desired = ask('HGETALL', P .. ':desired') end
    if args[2] ~= '' then
      local entry = ask('XRANGE', P .. ':journal', '(' .. args[2], '+', 'COUNT', 1)[1]
      for i = 1, entry and #entry[2] or 0, 2 do
        if entry[2][i] == 't' then behind_ms = entry[2][i + 1] end
      end
    end
    return {ask('HGETALL', P .. ':totals'), sizes, queued, ask('HGETALL', P .. ':bounds'), desired, behind_ms}
  end

  redis.register_function{function_name = 'amas1_figures', callback = figures, flags = {'no-writes'}}
end
