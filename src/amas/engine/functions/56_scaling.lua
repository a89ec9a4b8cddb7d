-- What the autoscaler remembers, and which queues' arrivals are counted for it.
-- Keys: P:scaling     hash  by field what Python put there: memory:<pool>, view:<pool>, and of the
--                           number of hosts hosts:memory, hosts:view
--       P:arrived     hash  queue -> tasks ever queued there, new or again; counted (00_fair.lua) from when somebody asked, so that
--                           queues of which nobody wants to know write nothing for it

do
-- scaling_keep: keep values, and count what comes into queues from now on.  caller: ScalingState.keep.
--   ARGV: now, [queue...], then field and value by turns; a value of '' takes the field away.
  local function scaling_keep(keys, args)
    begin(keys, args)
    for _, queue in ipairs(cmsgpack.unpack(args[2])) do call('HSETNX', P .. ':arrived', queue, 0) end
    local name = P .. ':scaling'
    for i = 3, #args, 2 do
      if args[i + 1] == '' then call('HDEL', name, args[i]) else call('HSET', name, args[i], args[i + 1]) end
    end
    return 1
  end

  redis.register_function('amas1_scaling_keep', scaling_keep)
end
