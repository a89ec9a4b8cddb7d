-- A host says anew what it has, while it goes on working.
-- Shares: P:hosts and P:h:<host> of 00_base.lua.

do
  -- announce: what a live host has, and which wishes it has carried out.  caller: HostRegistry.announce.
  --   ARGV: now, host, what it says of itself.  returns 1, or 0 when its lease is gone: it must register, which says so, too.
  --   Not register: that takes the host for one that came back from the dead, and gives its tasks to others. Nothing of its tasks,
  --   its lease or since when it is here changes.
  local function announce(keys, args)
    begin(keys, args)
    if not call('ZSCORE', P .. ':hosts', args[2]) then return 0 end
    call('HINCRBY', key('h', args[2]), 'said', 1)
    call('HSET', key('h', args[2]), 'about', args[3])
    commit('host', {'h', args[2], 'b', args[3]})
    return 1
  end

  redis.register_function('amas1_announce', announce)
end
