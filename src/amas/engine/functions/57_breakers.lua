-- Circuit breakers: who uses a dependency asks before and says after how it went; enough errors in a row open it for all.
--
--   P:breaker:<name> hash  errors_max, open_ms as declared (absent: the defaults); errors in a row; until (ms) while it isn't closed;
--                          host and probe who tries it, probe_until (ms); opened how often; at (ms) and why it was last opened
--   P:breakers       set   names that were ever used or declared
--
-- Closed: everybody may. Open (now < until): nobody. Half-open (until has passed): one, the probe, for as long as its host lives and
-- its time isn't up; what it says closes the breaker or opens it anew. Nothing here is in the journal: it is about minutes.
-- Shares: P:hosts of 00_base.lua.

do
  local ERRORS_MAX, OPEN_MS = 5, 30000
  local NAMES_MAX = 1000    -- who names dependencies by something that varies gets no more breakers
  local RECHECK_MS = 2000   -- how soon at the latest those ask again who come while a probe is under way

  local function named(name) return P .. ':breaker:' .. name end

  -- enter_breaker: ask whether a dependency may be used.  caller: Breakers.enter.
  --   ARGV: now, name, host, token of this use, ms that it may take
  --   returns 0 for yes, or the milliseconds after which to ask again.  cost: one read while it is closed.
  local function enter(keys, args)
    local now = begin(keys, args)
    local name = named(args[2])
    local v = call('HMGET', name, 'until', 'probe', 'host', 'probe_until')
    local open_until = tonumber(v[1] or nil)
    if not open_until then
      if call('EXISTS', name) == 0 and call('SCARD', P .. ':breakers') < NAMES_MAX then
        call('HSET', name, 'errors', 0)
        call('SADD', P .. ':breakers', args[2])
      end
      return 0
    end
    if now < open_until then return open_until - now end
    if v[2] and v[2] ~= args[4] and tonumber(v[4]) > now and call('ZSCORE', P .. ':hosts', v[3]) then
      return math.min(RECHECK_MS, tonumber(call('HGET', name, 'open_ms') or nil) or OPEN_MS)
    end
    call('HSET', name, 'probe', args[4], 'host', args[3], 'probe_until', now + args[5])
    return 0
  end

  local function open(name, why)
    local open_ms = tonumber(call('HGET', name, 'open_ms') or nil) or OPEN_MS
    call('HSET', name, 'until', R.now + open_ms, 'errors', 0, 'at', R.stamp, 'why', why)
    call('HINCRBY', name, 'opened', 1)
    call('HDEL', name, 'probe', 'host', 'probe_until')
    return 'opened'
  end

  -- report_breaker: say how a use went.  caller: Breakers.report.  ARGV: now, name, token, 'ok' | 'error' | 'unknown', why
  --   returns 'opened' or 'closed' when that changed the breaker, else ''. What began before it opened says nothing of it any more.
  local function report(keys, args)
    begin(keys, args)
    local name, said = named(args[2]), args[4]
    local v = call('HMGET', name, 'until', 'probe', 'errors', 'errors_max', 'open_ms')
    if not (v[3] or v[5]) then return '' end   -- there is none
    if not v[1] then
      local errors = tonumber(v[3] or nil) or 0
      if said == 'ok' and errors > 0 then call('HSET', name, 'errors', 0) end
      if said ~= 'error' then return '' end
      if errors + 1 >= (tonumber(v[4] or nil) or ERRORS_MAX) then return open(name, args[5]) end
      call('HINCRBY', name, 'errors', 1)
      return ''
    end
    if v[2] ~= args[3] then return '' end
    if said == 'error' then return open(name, args[5]) end
    call('HDEL', name, 'probe', 'host', 'probe_until')   -- whoever comes next is the probe
    if said ~= 'ok' then return '' end
    call('HDEL', name, 'until')
    call('HSET', name, 'errors', 0)
    return 'closed'
  end

  -- reset_breaker: close it by hand.  caller: Breakers.reset.  ARGV: now, name.  returns 1, or 0 where there is none.
  local function reset(keys, args)
    begin(keys, args)
    if call('EXISTS', named(args[2])) == 0 then return 0 end
    call('HDEL', named(args[2]), 'until', 'probe', 'host', 'probe_until')
    call('HSET', named(args[2]), 'errors', 0)
    return 1
  end

  -- declare_breaker: set its limits; how it stands is left as it is.  caller: Breakers.declare.  ARGV: now, name, errors, open_ms
  local function declare(keys, args)
    begin(keys, args)
    call('SADD', P .. ':breakers', args[2])
    call('HSET', named(args[2]), 'errors_max', args[3], 'open_ms', args[4])
    return 1
  end

  redis.register_function('amas1_enter_breaker', enter)
  redis.register_function('amas1_report_breaker', report)
  redis.register_function('amas1_reset_breaker', reset)
  redis.register_function('amas1_declare_breaker', declare)
end
