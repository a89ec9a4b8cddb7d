-- What is wanted of the fleet: one small document, changed a few fields at a time, with a revision that counts its changes.
-- Keys: P:desired       hash    rev the revision; then by field what Python put there: fleet, scale:<pool>, order:<host>, seats:<host>, ...
--       P:desired:log   stream  what was changed, by whom and why: the newest LOG_KEPT changes that say why
--       P:desired:fleet stream  the newest FLEETS_KEPT fleets, each with its revision: what a roll-back goes to
-- Channel: P:desired (the revision; also rung, with the revision unchanged, when a host comes or goes).
-- Shares: P:tokens:epochs of 64_tokens.lua.

do
  local LOG_KEPT, FLEETS_KEPT = 10000, 50

  -- desire: change the document as a whole, or not at all.  caller: DesiredState.change.
  --   ARGV: now, expected revision or -1 for any, by, why, then field and value by turns; a value of '' takes the field away.
  --   returns [1, the revision], or [0, the revision that stands] where another one was expected. What changes nothing counts for
  --   nothing, so saying the same again is harmless. A change without a why isn't logged: seats, which follow from the rest.
  local function desire(keys, args)
    begin(keys, args)
    local name = P .. ':desired'
    local rev = tonumber(call('HGET', name, 'rev')) or 0
    local expected = tonumber(args[2])
    if expected >= 0 and expected ~= rev then return {0, rev} end
    local changed, thrown, lifted = {}, {}, {}
    for i = 5, #args, 2 do
      local field, value = args[i], args[i + 1]
      if (call('HGET', name, field) or '') ~= value then
        if value == '' then call('HDEL', name, field) else call('HSET', name, field, value) end
        changed[#changed + 1] = field
        local killed = string.match(field, '^kill:(.*)$')
        if killed then table.insert(value == '' and lifted or thrown, killed) end
        local stopped = value ~= '' and (killed or string.match(field, '^quarantine:(.*)$'))
        if stopped then call('HINCRBY', P .. ':tokens:epochs', stopped, 1) end   -- 64_tokens.lua
        if field == 'fleet' then
          call('XADD', P .. ':desired:fleet', 'MAXLEN', FLEETS_KEPT, '*', 'rev', string.format('%d', rev + 1), 'fleet', value)
        end
      end
    end
    if not changed[1] then return {1, rev} end
    rev = rev + 1
    call('HSET', name, 'rev', rev)
    if args[4] ~= '' then
      call('XADD', P .. ':desired:log', 'MAXLEN', '~', LOG_KEPT, '*', 'rev', string.format('%d', rev), 'at', R.stamp, 'by', args[3],
        'why', args[4], 'fields', table.concat(changed, '\n'))
    end
    call('PUBLISH', name, rev)
    if thrown[1] or lifted[1] then healing.switch(thrown, lifted) end   -- 63_kill.lua
    return {1, rev}
  end

  redis.register_function('amas1_desire', desire)
end
