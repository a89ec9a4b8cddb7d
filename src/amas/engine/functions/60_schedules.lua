-- Schedules: P:schedules hash name -> blob, P:schedules:due zset name by next time, P:schedule:<name> hash fired, passed_over, last, id, w.
-- Shares: P:t:<id> and P:w:<id> of 00_base.lua.

do   -- a block of its own: Lua takes 200 local names in one, and these are nobody else's

local SUBMIT_NOTHING = ''

-- Whether what is kept under a name isn't what the caller saw there.  seen: nil where any may be.
local function differs(name, seen)
  return seen and call('HGET', P .. ':schedules', name) ~= seen
end

-- schedule: keep a schedule.  caller: Schedules.put.
--   ARGV: now, name, blob, due ('' while it is paused), and the blob in whose place it comes where no other may be lost
--   returns 1 when it is new, 0, or -1 where another one is there: nothing was done
local function schedule(keys, args)
  begin(keys, args)
  local name, due = args[2], args[4]
  if differs(name, args[5]) then return -1 end
  if due == '' then call('ZREM', P .. ':schedules:due', name) else call('ZADD', P .. ':schedules:due', due, name) end
  return call('HSET', P .. ':schedules', name, args[3])
end

-- unschedule: drop a schedule; what it submitted goes on.  caller: Schedules.drop.
--   ARGV: now, name, and as above the blob that is to go.  returns 1, 0 when there is none, or -1 where another one is there
local function unschedule(keys, args)
  begin(keys, args)
  if differs(args[2], args[3]) then return -1 end
  call('ZREM', P .. ':schedules:due', args[2])
  call('DEL', key('schedule', args[2]))
  return call('HDEL', P .. ':schedules', args[2])
end

-- schedule_instead: keep a schedule as it is written another way; its times are left alone.  caller: Schedules.instead.
--   ARGV: name, blob (as it was found), the other blob.  returns 1, or 0 where it was changed or dropped meanwhile
local function schedule_instead(keys, args)
  local all = keys[1] .. ':schedules'
  if redis.call('HGET', all, args[1]) ~= args[2] then return 0 end
  redis.call('HSET', all, args[1], args[3])
  return 1
end

-- due: the schedules whose time has come.  caller: the cron duty.  ARGV: now, limit
--   returns [now, when the next one is due or 0, name, due, blob, ...].  Changes nothing.
local function due(keys, args)
  local now = begin(keys, args)
  local held = call('ZRANGEBYSCORE', P .. ':schedules:due', '-inf', now, 'WITHSCORES', 'LIMIT', 0, args[2])
  local after = call('ZRANGEBYSCORE', P .. ':schedules:due', '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local out = {now, tonumber(after[2] or 0)}
  for i = 1, #held, 2 do
    out[#out + 1] = held[i]
    out[#out + 1] = tonumber(held[i + 1])
    out[#out + 1] = call('HGET', P .. ':schedules', held[i])
  end
  return out
end

-- Whether what a schedule submitted last is still open.
local function still_open(last)
  if not last[1] then return false end
  local state = call('HGET', last[2] and key('w', last[1]) or key('t', last[1]), 's')
  return state and not TERMINAL[state] or false
end

-- fire: submit what a schedule asks for and move it on to its next time, in the same instant.  caller: the cron duty.
--   ARGV: now, retention_ms, name, due (as it was found), next ('' for never), overlap, time to submit for, id of the task or
--   workflow, workflow ('' or as for submit), batch ('' to submit nothing)
--   returns ['fired' | 'passed_over' | 'moved' (another leader did it, or it was changed)] or [refusal, id], and then it stays due.
local function fire(keys, args)
  begin(keys, args)
  local name, batch = args[3], args[10]
  if tonumber(call('ZSCORE', P .. ':schedules:due', name) or 0) ~= tonumber(args[4]) then return {'moved'} end
  local about, told = key('schedule', name), 'fired'
  if batch == SUBMIT_NOTHING or (args[6] == 'skip' and still_open(call('HMGET', about, 'id', 'w'))) then
    told = 'passed_over'
    call('HINCRBY', about, 'passed_over', 1)
  else
    local answer = submit(keys, {args[1], args[2], '', '1', '', '', 0, '', args[9], batch})
    if answer[1] ~= 'ok' then return answer end
    call('HINCRBY', about, 'fired', 1)
    call('HSET', about, 'last', args[7], 'id', args[8])
    if args[9] ~= '' then call('HSET', about, 'w', 1) else call('HDEL', about, 'w') end
  end
  if args[5] == '' then call('ZREM', P .. ':schedules:due', name) else call('ZADD', P .. ':schedules:due', args[5], name) end
  return {told}
end

redis.register_function('amas1_schedule', schedule)
redis.register_function('amas1_unschedule', unschedule)
redis.register_function('amas1_schedule_instead', schedule_instead)
redis.register_function('amas1_due', due)
redis.register_function('amas1_fire', fire)

end
