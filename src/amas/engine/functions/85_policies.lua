-- Limits of policies: so many calls of tools within any stretch of time, and what was refused.
--
--   P:calls:<rule> <each>:<whom> <ms>  hash  slot of time (a sixtieth of the stretch) -> calls taken in it; gone when the last has left
--   P:refusals                         list  the newest REFUSALS_KEPT refusals, the newest first (blobs)
--   P:stands                           hash  an MCP server, as it is declared -> what it said of its tools when it was first asked (blob)
-- Shares: P:totals of 00_base.lua: tool_calls_allowed, tool_calls_refused.
--
-- A call counts until its slot has left the stretch altogether: so never more than the limit fall into any stretch, and room comes a
-- sixtieth of it late at most. Nothing here is in the journal: it is about the use of tools, not about tasks.

do
  local SLOTS, REFUSALS_KEPT = 60, 1000

  -- The calls that count in one limit, and the slots that hold them.
  local function look(name, per)
    local width = math.ceil(per / SLOTS)
    local w = {key = key('calls', name), per = per, width = width, slot = math.floor(R.now / width), used = 0, held = {}, old = {}}
    local oldest = math.floor((R.now - per) / width)
    local found = call('HGETALL', w.key)
    for i = 1, #found, 2 do
      local slot, n = tonumber(found[i]), tonumber(found[i + 1])
      if slot >= oldest and slot <= w.slot + SLOTS then   -- one from far ahead is from before the clock was set back
        w.used = w.used + n
        w.held[#w.held + 1] = {slot, n}
      else
        w.old[#w.old + 1] = found[i]
      end
    end
    return w
  end

  -- Milliseconds until one more call fits.
  local function room_in(w, limit)
    table.sort(w.held, function(a, b) return a[1] < b[1] end)
    local missing = w.used - limit + 1
    for _, slot in ipairs(w.held) do
      missing = missing - slot[2]
      if missing <= 0 then return math.max(1, (slot[1] + 1) * w.width + w.per - R.now) end
    end
    return w.per
  end

  local function take(w)
    if w.old[1] then call('HDEL', w.key, unpack(w.old)) end
    call('HINCRBY', w.key, string.format('%d', w.slot), 1)
    call('PEXPIRE', w.key, w.per + 2 * w.width)
  end

  -- take_calls: take one call from limits, or nothing.  caller: ToolLedger.take.
  --   ARGV: now, how many of the limits must all have room, then name, calls and milliseconds of each; of the rest one must have room
  --   returns [1, place of the one taken of the rest, or 0], or [0, place of a limit without room, milliseconds until it has some].
  --   cost: a read of at most 62 fields for each limit, and two writes for each that is taken from.
  local function take_calls(keys, args)
    begin(keys, args)
    local must, taken, chosen = tonumber(args[2]), {}, 0
    local full, soonest
    for i = 3, #args, 3 do
      local place, limit, w = (i - 3) / 3 + 1, tonumber(args[i + 1]), look(args[i], tonumber(args[i + 2]))
      if w.used < limit then
        taken[#taken + 1] = w
        if place > must then chosen = place break end
      else
        local wait = room_in(w, limit)
        if place <= must then return {0, place, wait} end
        if not soonest or wait < soonest then full, soonest = place, wait end
      end
    end
    if soonest and chosen == 0 then return {0, full, soonest} end
    for _, w in ipairs(taken) do take(w) end
    return {1, chosen}
  end

  -- note_calls: count calls, and keep those that were refused.  caller: ToolLedger.note.
  --   ARGV: now, allowed, refused, then refusals (blobs), the oldest first; there may have been more than these
  local function note_calls(keys, args)
    begin(keys, args)
    call('HINCRBY', P .. ':totals', 'tool_calls_allowed', args[2])
    call('HINCRBY', P .. ':totals', 'tool_calls_refused', args[3])
    if args[4] then
      call_many('LPUSH', P .. ':refusals', {unpack(args, 4)})
      call('LTRIM', P .. ':refusals', 0, REFUSALS_KEPT - 1)
    end
    return 1
  end

  -- first_said: what an MCP server said of its tools when a host first asked it.  caller: ToolLedger.first_said.
  --   ARGV: the server, as it is declared, what it says now (blob).  returns what stands: the first that was ever said.
  local function first_said(keys, args)
    local name = keys[1] .. ':stands'
    redis.call('HSETNX', name, args[1], args[2])
    return redis.call('HGET', name, args[1])
  end

  redis.register_function('amas1_first_said', first_said)
  redis.register_function('amas1_take_calls', take_calls)
  redis.register_function('amas1_note_calls', note_calls)
end
