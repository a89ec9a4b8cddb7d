-- Alerts and run-books: what their duties remember, and what receivers are still to be told. Blobs are Python's.
-- Keys: P:alerts:<record>       hash    rev, v: `state` (all alerts) or `run:<id>` (one run of a run-book), changed by compare and set
--       P:alerts:runs           zset    run ids by their beginning: RUNS_KEPT, and all open ones
--       P:alerts:open           set     runs that haven't ended
--       P:alerts:out:<receiver> stream  notices that it hasn't got, the newest OUT_MAX
--       P:alerts:receivers      hash    receiver -> blob: how telling it goes
--       P:alerts:dropped        hash    receiver -> notices that were pushed out by newer ones
--       P:alerts:silences       hash    id -> blob
--       P:alerts:audit          stream  what was done in runs, by whom: the newest AUDIT_KEPT
-- Channel: P:alerts (the record that changed).

do
  local RUNS_KEPT, OUT_MAX, AUDIT_KEPT, SILENCES_MAX = 1000, 1000, 10000, 1000

  local function push(receivers, first, args, last)
    for _, receiver in ipairs(receivers) do
      local name = P .. ':alerts:out:' .. receiver
      for i = first, last do
        if call('XLEN', name) >= OUT_MAX then call('HINCRBY', P .. ':alerts:dropped', receiver, 1) end
        call('XADD', name, 'MAXLEN', OUT_MAX, '*', 'n', args[i])
      end
    end
  end

  local function index(run, open)
    if open == '1' then call('SADD', P .. ':alerts:open', run) else call('SREM', P .. ':alerts:open', run) end
    if call('ZADD', P .. ':alerts:runs', 'NX', R.now, run) == 0 then return end
    for _, old in ipairs(call('ZRANGE', P .. ':alerts:runs', 0, call('ZCARD', P .. ':alerts:runs') - RUNS_KEPT - 1)) do
      if call('SISMEMBER', P .. ':alerts:open', old) == 0 then
        call('ZREM', P .. ':alerts:runs', old)
        call('DEL', P .. ':alerts:run:' .. old)
      end
    end
  end

-- alerts_keep: change one record, tell of it and note who did what, together or not at all.  caller: AlertStore.
--   ARGV: now, record ('' for none), the revision that it must have or -1 for any, blob, whether it is an open run (0 or 1),
--   audit blob or '', number of receivers, the receivers, then the notices' blobs, which each receiver is told
--   returns [1, the new revision], or [0, the revision that stands] where another one was expected, and then nothing was done.
  local function alerts_keep(keys, args)
    begin(keys, args)
    local record, rev = args[2], 0
    if record ~= '' then
      local name = P .. ':alerts:' .. record
      rev = tonumber(call('HGET', name, 'rev')) or 0
      if tonumber(args[3]) >= 0 and tonumber(args[3]) ~= rev then return {0, rev} end
      rev = rev + 1
      call('HSET', name, 'rev', rev, 'v', args[4])
      local run = string.match(record, '^run:(.*)$')
      if run then index(run, args[5]) end
    end
    if args[6] ~= '' then call('XADD', P .. ':alerts:audit', 'MAXLEN', '~', AUDIT_KEPT, '*', 'e', args[6]) end
    local receivers, count = {}, tonumber(args[7])
    for i = 1, count do receivers[i] = args[7 + i] end
    push(receivers, 8 + count, args, #args)
    call('PUBLISH', P .. ':alerts', record)
    return {1, rev}
  end

-- alerts_told: take notices that a receiver has got off its queue, and keep how telling it goes.  caller: AlertStore.
--   ARGV: now, receiver, blob, entry ids.
  local function alerts_told(keys, args)
    begin(keys, args)
    for i = 4, #args do call('XDEL', P .. ':alerts:out:' .. args[2], args[i]) end
    return call('HSET', P .. ':alerts:receivers', args[2], args[3])
  end

-- alerts_silence: keep a silence, or forget it.  caller: AlertStore.  ARGV: now, id, blob or ''.
--   returns 1 when something changed, 0 when there was nothing to forget, -1 when there are too many.
  local function alerts_silence(keys, args)
    begin(keys, args)
    local name = P .. ':alerts:silences'
    if args[3] == '' then return call('HDEL', name, args[2]) end
    if call('HLEN', name) >= SILENCES_MAX then return -1 end
    call('HSET', name, args[2], args[3])
    return 1
  end

  redis.register_function('amas1_alerts_keep', alerts_keep)
  redis.register_function('amas1_alerts_told', alerts_told)
  redis.register_function('amas1_alerts_silence', alerts_silence)
end
