-- Hosts and their leases; who leads.
-- Keys: P:lead:<duty> hash   who leads it and until when (ms), and the epoch, which outlives both
-- Shares: P:desired of 55_desired.lua, as a channel: rung when a host comes or goes.

-- Give back all that a host runs. `lost`: it died, so each task remembers; one that went down with too many hosts fails.
local function release(host, lost)
  local running, blamed = call('HGETALL', key('r', host)), {}
  if lost then healing.host_lost(host, running) end
  for i = 1, #running, 2 do
    local task = load(running[i])
    if task and task.s == 'running' and task.h == host then
      if task.V then resources.settle(task) end
      if lost and not blamed[task.q] and string.find(task.q, '@', 2, true) then   -- one death is one failure, whatever ran there
        blamed[task.q] = true
        routing.learn(task, false)
      end
      local excused = lost and string.find(task.q, '@', 2, true) and routing.excuse(task)
      if lost and not excused and task.l + 1 > HOSTS_LOST_MAX then
        dead_letter(task)
        abandon(task, 'host_lost', 'its host died in each of its last attempts; it may be the cause')
      else
        call('HSET', key('t', task.id), 's', 'queued', 'l', task.l + (lost and not excused and 1 or 0))
        ready_again(task)
        effect(task.id, 'queued')
      end
    end
  end
  call('DEL', key('r', host), key('h', host))
  call('ZREM', P .. ':hosts', host)
  call('PUBLISH', P .. ':desired', call('HGET', P .. ':desired', 'rev') or '0')   -- the placer deals its agents out
  return #running / 2
end

-- register: a host says that it is here.  caller: HostRegistry.register.
--   ARGV: now, retention_ms, host, lease_ms, what it says of itself.  returns how many tasks were given back.
--   A host that comes back under its name has died: what it ran is given back at once, without waiting for its lease to end.
--   One that ran nothing is known by its process id: another one has come, unless this is the same call made again.
local function register(keys, args)
  local now = begin(keys, args)
  R.retention = tonumber(args[2])
  local host, given_back = args[3], 0
  local earlier = call('HGET', key('h', host), 'about')
  if call('EXISTS', key('r', host)) == 1 or (earlier and cmsgpack.unpack(earlier).pid ~= cmsgpack.unpack(args[5]).pid) then
    given_back = release(host, true)
    count('hosts_lost')
    commit('lost', {'h', host})
    begin(keys, args)
  end
  call('ZADD', P .. ':hosts', now + args[4], host)
  call('HSET', key('h', host), 'about', args[5], 'since', now, 'lease', args[4])
  commit('host', {'h', host, 'b', args[5]})
  call('PUBLISH', P .. ':desired', call('HGET', P .. ':desired', 'rev') or '0')   -- the placer deals agents out to it
  return given_back
end

-- renew: the host lives.  caller: its lease keeper, every beat.  ARGV: now, host, lease_ms, its figures
--   returns 1, or 0 when its lease had run out and its tasks were given to others: it must stop them and register anew.
--   Writes no journal: 30,000 agents beat, and nothing changes.
local function renew(keys, args)
  local now = begin(keys, args)
  if not call('ZSCORE', P .. ':hosts', args[2]) then return 0 end
  call('ZADD', P .. ':hosts', now + args[3], args[2])
  call('HSET', key('h', args[2]), 'figures', args[4])
  return 1
end

-- reap: give back the tasks of one host whose lease has run out, in one transition.  caller: the reaper.
--   ARGV: now, retention_ms.  returns [host, tasks, ms since the lease ended] or [] when every lease holds.
local function reap(keys, args)
  local now = begin(keys, args)
  R.retention = tonumber(args[2])
  local late = call('ZRANGEBYSCORE', P .. ':hosts', '-inf', '(' .. now, 'WITHSCORES', 'LIMIT', 0, 1)
  if not late[1] then return {} end
  local n = release(late[1], true)
  count('hosts_lost')
  commit('lost', {'h', late[1]})
  return {late[1], n, now - tonumber(late[2])}
end

-- leave: a host goes, in good order.  ARGV: now, retention_ms, host.  returns how many tasks it gave back.
local function leave(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local n = release(args[3], false)
  commit('left', {'h', args[3]})
  return n
end

-- lead: become or stay the leader of a duty.  caller: Leader.  ARGV: now, duty, holder, lease_ms
--   returns the epoch (the fencing token, higher for each new leader), or 0 when another leads.
local function lead(keys, args)
  local now = begin(keys, args)
  local name = key('lead', args[2])
  local v = call('HMGET', name, 'holder', 'until', 'epoch')
  local epoch = tonumber(v[3]) or 0
  if v[1] == args[3] then
    call('HSET', name, 'until', now + args[4])
    return epoch
  end
  if v[1] and tonumber(v[2]) > now then return 0 end
  if v[1] and tonumber(v[2]) > 0 then healing.begin('leader', tonumber(v[2]) - args[4], 'leader_lost', v[1], {}) end   -- it didn't resign
  call('HSET', name, 'holder', args[3], 'until', now + args[4], 'epoch', epoch + 1)
  return epoch + 1
end

-- resign: let another lead at once.  ARGV: now, duty, holder
local function resign(keys, args)
  begin(keys, args)
  local name = key('lead', args[2])
  if call('HGET', name, 'holder') ~= args[3] then return 0 end
  call('HSET', name, 'until', 0)
  return 1
end

-- depose: a leader is dead, as who started its process saw: let another lead at once.  caller: Leadership.depose
--   ARGV: now, duty, holder, lease_ms.  returns 1, or 0 when that one leads no longer, and then nothing is changed.
--   Keeps true: a lease ends early only by the word of who holds it, or of who knows that nobody does.
local function depose(keys, args)
  begin(keys, args)
  local name = key('lead', args[2])
  local v = call('HMGET', name, 'holder', 'until')
  if v[1] ~= args[3] or tonumber(v[2]) == 0 then return 0 end
  healing.begin('leader', tonumber(v[2]) - args[4], 'leader_lost', v[1], {})
  call('HSET', name, 'until', 0)
  return 1
end

-- append: an entry that is no transition (progress, log lines).  ARGV: now, kind, blob
local function append(keys, args)
  begin(keys, args)
  commit(args[2], {'b', args[3]})
  return 1
end

redis.register_function('amas1_register', register)
redis.register_function('amas1_renew', renew)
redis.register_function('amas1_reap', reap)
redis.register_function('amas1_leave', leave)
redis.register_function('amas1_lead', lead)
redis.register_function('amas1_resign', resign)
redis.register_function('amas1_depose', depose)
redis.register_function('amas1_append', append)
