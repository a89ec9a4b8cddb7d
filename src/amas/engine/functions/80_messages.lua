-- Messages between agents: durable inboxes, claimed in order, handed out at least once.
--
-- An inbox is named by its agent, or by its agent, '#' and the id of a request that it waits to be answered.
-- An entry is what an inbox keeps of a message: head() takes it apart. A batch costs some commands, and each inbox in it some more;
-- a message on top of others of its inbox costs none of its own.
-- Keys: P:m0:<inbox> .. P:m3:<inbox>  list  entries that wait, by priority, in the order in which they came
--       P:mc:<inbox>  hash  =<id> the end of its claim, its place and the entry, of what is handed out;
--                           m when the last claim ends, no claim ends before, how many were handed out so far, and the receiver;
--                           f other priorities than 1 may wait; p the place of what was pushed and not asked for since;
--                           pace: t and g (how many) as refusals saw it, r gone a ms
--       P:inboxes     hash  inbox -> how many messages it holds, waiting or handed out; none with 0
--       P:ms:<span>   set   ids of the messages that were signed within a span of time, as long as the replay window
--       P:mpace:<span> hash sender -> bytes that it sent in that minute, counted while much lies unread
--       P:mwho        hash  agent -> the receiver that hears of its mail
--       P:mreads      hash  agent -> the receiver that always reads its mail, so that a message may be pushed to it
--       P:mt:<topic>  set   agents that asked to hear of it
--       P:mtotals     hash  counters                          P:mdead, P:maudit  lists, the newest first, capped
-- Channels: P:mail:<receiver>, the inboxes for which something came in: one message for all of a call.
--           P:post:<receiver>, a message that was handed out as it came in: the length of its inbox's name, the name, the entry.
-- Nothing here is in the journal: a message lives for minutes, and the history has no use for it. An agent without messages costs nothing.

local function messages()   -- a scope of its own: the library's main chunk may hold 200 locals

local LIFE = 90000000       -- ms; longer than any message may live
local SWEEP = 1000          -- expired messages that a call clears of a list at most
local LISTED = 1000         -- dead messages and refusals that are kept
local PAUSE = 1000          -- ms: what a refused sender waits where nobody can tell how fast the inbox drains
local PACE_MIN, PAUSE_MAX = 200, 60000
local CROWD = 2000          -- messages that lie unread, at most 64 KiB each, before anybody's are rationed: 128 MiB
local RATION, RATION_MS = 33554432, 60000   -- bytes that one sender may add then in this time: 30,000 agents can be told something
local HEAD = '>dBBH'        -- expires (ms), how often it was handed out before, priority, length of its id; the id, the body
local CLAIM, CLAIM_BYTES = '>dd', 16   -- when it ends, place among what was handed out
local CLAIMS, CLAIMS_BYTES = '>ddd', 24
local PLAIN, ALL = {1}, {3, 2, 1, 0}   -- priorities to look for
local tally = {}

local function add(name, n) if n ~= 0 then tally[name] = (tally[name] or 0) + n end end

-- As begin(); the call gathers in R.less how many messages each inbox holds no more.
local function start(keys, args)
  local now = begin(keys, args)
  R.less, tally = {}, {}
  return now
end

local function less(inbox, n) if n > 0 then R.less[inbox] = (R.less[inbox] or 0) + n end end

local function get_many(name, fields)
  local found = {}
  for first = 1, #fields, 1000 do
    local last = math.min(first + 999, #fields)
    local part = call('HMGET', name, unpack(fields, first, last))
    for i = first, last do found[i] = part[i - first + 1] end
  end
  return found
end

-- Write what inboxes hold now, and the counters.
local function flush()
  local names, kept, empty = {}, {}, {}
  for inbox in pairs(R.less) do names[#names + 1] = inbox end
  for i, before in ipairs(get_many(P .. ':inboxes', names)) do
    local n = (tonumber(before) or 0) - R.less[names[i]]
    if n > 0 then
      kept[#kept + 1], kept[#kept + 2] = names[i], n
    else
      empty[#empty + 1] = names[i]
    end
  end
  call_many('HSET', P .. ':inboxes', kept)
  call_many('HDEL', P .. ':inboxes', empty)
  for _, inbox in ipairs(empty) do   -- an answer's inbox isn't used again
    if string.find(inbox, '#', 1, true) then call('DEL', key('mc', inbox)) end
  end
  for name, n in pairs(tally) do call('HINCRBY', P .. ':mtotals', name, n) end
end

local function waiting(priority, inbox) return P .. ':m' .. priority .. ':' .. inbox end

local function agent_of(inbox) return string.match(inbox, '^[^#]*') end

-- Return when an entry expires, how often it was handed out before, its priority, and its id.
local function head(entry, from)
  local expires, times, priority, length, at = struct.unpack(HEAD, entry, from or 1)
  return expires, times, priority, string.sub(entry, at, at + length - 1)
end

-- An item is the length of its head, its head in msgpack, and the body as it came: msgpack of here has no word for bytes.
local function push_capped(name, about, body)
  about = cmsgpack.pack(about)
  call('LPUSH', name, struct.pack('>I4', #about) .. about .. body)
  call('LTRIM', name, 0, LISTED - 1)
end

local function body_of(entry)
  local _, _, _, length, at = struct.unpack(HEAD, entry)
  return string.sub(entry, at + length)
end

-- Clear what has expired from the front of an inbox; returns how many. What expires sooner than others before it is met later.
local function clear_expired(inbox)
  local gone = 0
  for priority = 0, 3 do
    local name = waiting(priority, inbox)
    for _ = 1, SWEEP do
      local entry = call('LINDEX', name, 0)
      if not entry or head(entry) > R.now then break end
      call('LPOP', name)
      gone = gone + 1
    end
  end
  add('expired', gone)
  return gone
end

-- What is handed out of an inbox: {place, id, entry, end of its claim}, ...
local function handed_out(inbox)
  local fields, out = call('HGETALL', key('mc', inbox)), {}
  for i = 1, #fields, 2 do
    if string.byte(fields[i]) == 61 then   -- '='
      local until_ms, place = struct.unpack(CLAIM, fields[i + 1])
      out[#out + 1] = {place, string.sub(fields[i], 2), string.sub(fields[i + 1], CLAIM_BYTES + 1), until_ms}
    end
  end
  return out
end

-- Put one that was handed out back in front of those that wait, or among the dead or expired; returns whether it waits again and
-- isn't of the usual priority.
local function put_one_back(inbox, id, entry, retries)
  local expires, times, priority = head(entry)
  times = times + 1
  if expires <= R.now then
    add('expired', 1)
  elseif times > retries then
    push_capped(P .. ':mdead', {inbox, id, times, R.now}, body_of(entry))
    add('dead', 1)
  else
    call('LPUSH', waiting(priority, inbox), string.sub(entry, 1, 8) .. string.char(times) .. string.sub(entry, 10))
    if priority ~= 1 then call('HSET', key('mc', inbox), 'f', 1) end
    return priority ~= 1
  end
  less(inbox, 1)
end

-- How an inbox is handed out: receiver (nil before the first), last and earliest end of a claim, n how many so far, f and p as above.
local function claims_of(inbox)
  local v = call('HMGET', key('mc', inbox), 'm', 'f', 'p')
  if not v[1] then return {last = 0, earliest = math.huge, n = 0, f = v[2]} end
  local last, earliest, n = struct.unpack(CLAIMS, v[1])
  return {last = last, earliest = earliest, n = n, f = v[2], p = tonumber(v[3]), receiver = string.sub(v[1], CLAIMS_BYTES + 1)}
end

local function packed(c) return struct.pack(CLAIMS, c.last, c.earliest, c.n) .. c.receiver end

-- Put what was handed out and has lapsed, or `all` of it, back. `c`: see claims_of().
local function put_back(inbox, c, retries, all)
  local ended, fields = {}, {}
  c.earliest = math.huge
  for _, one in ipairs(handed_out(inbox)) do
    if all or one[4] <= R.now then
      ended[#ended + 1] = one
      fields[#fields + 1] = '=' .. one[2]
    else
      c.earliest = math.min(c.earliest, one[4])
    end
  end
  table.sort(ended, function(a, b) return a[1] > b[1] end)   -- the last first: each goes before those that are there
  for _, one in ipairs(ended) do c.f = put_one_back(inbox, one[2], one[3], retries) or c.f end
  call_many('HDEL', key('mc', inbox), fields)
  call('HSET', key('mc', inbox), 'm', packed(c))
end

-- ms after which a full inbox may have room, by the pace at which messages have been handed out lately.
local function room_in_ms(inbox)
  local name = key('mc', inbox)
  local v = call('HMGET', name, 't', 'g', 'r')
  local gone, since, rate = claims_of(inbox).n, tonumber(v[1]), tonumber(v[3])
  if not since or R.now - since >= PACE_MIN then
    if since then
      local seen = (gone - tonumber(v[2])) / (R.now - since)
      rate = rate and (rate + seen) / 2 or seen
      call('HSET', name, 'r', string.format('%.9f', rate))
    end
    call('HSET', name, 't', R.now, 'g', gone)
  end
  if not rate or rate <= 0 then return PAUSE end
  return math.min(math.max(math.ceil(1 / rate), 1), PAUSE_MAX)
end

-- Drop what is handed out and has lapsed and expired: its receiver went away, and nobody has asked for the inbox since.
local function clear_lapsed(inbox)
  if claims_of(inbox).earliest > R.now then return end
  for _, one in ipairs(handed_out(inbox)) do
    if one[4] <= R.now and head(one[3]) <= R.now then
      call('HDEL', key('mc', inbox), '=' .. one[2])
      less(inbox, 1)
      add('expired', 1)
    end
  end
end

-- Look into one inbox at random, so that what nobody fetches goes in time, however many inboxes there are.
local function sweep_one()
  local inbox = call('HRANDFIELD', P .. ':inboxes')
  if not inbox then return end
  less(inbox, clear_expired(inbox))
  clear_lapsed(inbox)
end

-- Return the set of those ids that were taken before; `spans`: span -> ids.
local function known_ids(spans)
  local known = {}
  for span, ids in pairs(spans) do
    for first = 1, #ids, 1000 do
      local last = math.min(first + 999, #ids)
      for i, found in ipairs(call('SMISMEMBER', key('ms', span), unpack(ids, first, last))) do
        if found == 1 then known[ids[first + i - 1]] = true end
      end
    end
  end
  return known
end

-- Remember ids until nobody can send them again: what was signed at the end of a span is too old one window later.
local function remember(spans, window)
  for span, ids in pairs(spans) do
    local name = key('ms', span)
    call_many('SADD', name, ids)
    if call('PTTL', name) == -1 then call('PEXPIRE', name, (span + 2) * window - R.now + 1000) end
  end
end

-- Hand a message out as it comes into its empty inbox, to a receiver that hears us; returns whether one does.
local function push(inbox, entry, receiver, until_ms)
  if call('PUBLISH', key('post', receiver), struct.pack('>I2', #inbox) .. inbox .. entry) == 0 then return false end
  local c, _, _, _, id = claims_of(inbox), head(entry)
  c.receiver, c.n, c.last, c.earliest = receiver, c.n + 1, math.max(c.last, until_ms), until_ms
  call('HSET', key('mc', inbox), '=' .. id, struct.pack(CLAIM, until_ms, c.n) .. entry, 'm', packed(c), 'p', c.n)
  add('delivered', 1)
  return true
end

-- Put entries into the lists of an inbox; returns whether there were any.
local function put(inbox, by_priority)
  local some = false
  for priority, entries in pairs(by_priority) do
    call_many('RPUSH', waiting(priority, inbox), entries)
    if priority ~= 1 then call('HSET', key('mc', inbox), 'f', 1) end
    some = true
  end
  return some
end

-- Take the most urgent, oldest message out of what came for an inbox.
local function take_first(by_priority)
  for priority = 3, 0, -1 do
    local entries = by_priority[priority]
    if entries then
      local first = table.remove(entries, 1)
      if not entries[1] then by_priority[priority] = nil end
      return first
    end
  end
end

-- Put into each inbox what came for it, and tell receivers. The first message for an inbox that held nothing (`were`: inbox -> how many
-- it held) is pushed, where somebody always reads it: it has then waited for the disk once and not twice.
local function post(inboxes, puts, were, claim_ms)
  local agents, by_receiver = {}, {}
  for i, inbox in ipairs(inboxes) do agents[i] = agent_of(inbox) end
  local readers, killed = claim_ms and get_many(P .. ':mreads', agents) or {}, healing.killed()
  for i, receiver in ipairs(get_many(P .. ':mwho', agents)) do
    local inbox = inboxes[i]
    if receiver and readers[i] == receiver and were[inbox] == 0 and inbox == agents[i] and not (killed and killed(agents[i])) then
      local first = take_first(puts[inbox])
      if not push(inbox, first, receiver, R.now + claim_ms) then
        local _, _, priority = head(first)
        puts[inbox][priority] = puts[inbox][priority] or {}
        table.insert(puts[inbox][priority], 1, first)
      end
    end
    if put(inbox, puts[inbox]) and receiver then
      local named = by_receiver[receiver] or {}
      by_receiver[receiver] = named
      named[#named + 1] = inbox
    end
  end
  for receiver, named in pairs(by_receiver) do call('PUBLISH', key('mail', receiver), cmsgpack.pack(named)) end
end

-- Take a batch's messages apart: what each is, ids by span, what each inbox holds.
local function sort_out(letters, window)
  local facts, spans, names, holds = {}, {}, {}, {}
  for i, m in ipairs(letters) do
    local inbox, sent = m[1], m[3]
    local expires, _, priority, id = head(m[4])
    local why = nil
    if math.abs(R.now - sent) > window then why = 'stale'
    elseif expires <= R.now or expires - R.now > LIFE then why = 'expired'
    else
      local span = math.floor(sent / window)
      local ids = spans[span] or {}
      spans[span], ids[#ids + 1] = ids, id
      facts[i] = {id, priority, span}
    end
    facts[i] = facts[i] or {id, priority, nil, why}
    if not holds[inbox] then names[#names + 1], holds[inbox] = inbox, 0 end
  end
  for i, n in ipairs(get_many(P .. ':inboxes', names)) do holds[names[i]] = tonumber(n) or 0 end
  return facts, spans, names, holds
end

-- Return what says after how many ms a sender may add an entry, 0 for at once, and what keeps count of that; nothing while little lies
-- unread. One who writes to inboxes that nobody reads would fill the engine's memory otherwise, however small each inbox is.
local function rations()
  local v = call('HMGET', P .. ':mtotals', 'sent', 'acknowledged', 'expired', 'dead')
  if (tonumber(v[1]) or 0) - (tonumber(v[2]) or 0) - (tonumber(v[3]) or 0) - (tonumber(v[4]) or 0) < CROWD then return nil end
  local name, used = key('mpace', math.floor(R.now / RATION_MS)), {}
  local function wait(sender, bytes)
    used[sender] = used[sender] or tonumber(call('HGET', name, sender) or '0')
    if used[sender] + bytes > RATION then
      used[sender] = math.huge   -- what follows of it in this call must not overtake
      return RATION_MS - R.now % RATION_MS
    end
    used[sender] = used[sender] + bytes
    return 0
  end
  local function keep()
    for sender, bytes in pairs(used) do
      if bytes < math.huge then call('HSET', name, sender, bytes) else call('HSET', name, sender, RATION) end
    end
    call('PEXPIRE', name, 2 * RATION_MS)
  end
  return wait, keep
end

-- msg_send: put messages into inboxes.  caller: Inboxes.send.
--   ARGV: now, replay window (ms), most that an inbox holds, resend ('1': a known id is no replay), [[inbox, sender, signed (ms), entry], ...],
--         claim (ms) of what is pushed; without it nothing is
--   returns [index, what: 'same' | 'replayed' | 'stale' | 'expired' | 'full', held in that inbox, ms until there may be room] for each that
--   wasn't taken; 'full' with nothing held: its sender has added as much as it may while much lies unread.  Keeps true: a repeat changes nothing; of one sender's messages to one inbox none overtakes another of its priority,
--   also where some are refused as 'full', since all that follow in the call are then.  cost: some commands, one for each inbox.
local function msg_send(keys, args)
  start(keys, args)
  local window, critical, resend, letters = tonumber(args[2]), tonumber(args[3]), args[4] == '1', cmsgpack.unpack(args[5])
  local facts, spans, names, holds = sort_out(letters, window)
  local known, taken, puts, refused, cleared, were = known_ids(spans), {}, {}, {}, {}, {}
  local wait_ms, keep = rations()
  for i, m in ipairs(letters) do
    local inbox, id, priority, span, why = m[1], unpack(facts[i], 1, 4)
    if not why and known[id] then why = resend and 'same' or 'replayed' end
    if not why and holds[inbox] >= critical and not cleared[inbox] then
      cleared[inbox] = true
      holds[inbox] = holds[inbox] - clear_expired(inbox)
    end
    if not why and holds[inbox] >= critical then why = 'full' end
    local rationed = not why and wait_ms and wait_ms(m[2], #m[4]) or 0
    if rationed > 0 then
      refused[#refused + 1] = {i - 1, 'full', 0, rationed}
      add('refused_full', 1)
    elseif why then
      refused[#refused + 1] = {i - 1, why, holds[inbox], why == 'full' and room_in_ms(inbox) or 0}
      if why ~= 'same' then add('refused_' .. why, 1) end
      if why == 'replayed' or why == 'stale' then push_capped(P .. ':maudit', {why, id, m[2], agent_of(inbox), R.now}, body_of(m[4])) end
    else
      were[inbox] = were[inbox] or holds[inbox]
      known[id], holds[inbox] = true, holds[inbox] + 1
      local ids, lists = taken[span] or {}, puts[inbox] or {}
      local entries = lists[priority] or {}
      taken[span], puts[inbox], lists[priority] = ids, lists, entries
      ids[#ids + 1], entries[#entries + 1] = id, m[4]
    end
  end
  local counts, news = {}, {}
  for _, inbox in ipairs(names) do
    if puts[inbox] then news[#news + 1] = inbox end
    if puts[inbox] or cleared[inbox] then counts[#counts + 1], counts[#counts + 2] = inbox, holds[inbox] end
  end
  add('sent', #letters - #refused)
  if keep then keep() end
  remember(taken, window)
  call_many('HSET', P .. ':inboxes', counts)
  post(news, puts, were, tonumber(args[6]))
  sweep_one()
  flush()
  return refused
end

-- Make `receiver` the one that an inbox is handed out to, unless another's claims hold; returns whether it is.
-- Whoever is told of an agent's mail has its inboxes at once: it said last that the agent is there.
local function seize(inbox, receiver, c, retries)
  if c.receiver == receiver then
    if c.earliest <= R.now then put_back(inbox, c, retries) end
  elseif c.receiver then
    if c.last > R.now and call('HGET', P .. ':mwho', agent_of(inbox)) ~= receiver then return #handed_out(inbox) == 0 end
    put_back(inbox, c, retries, true)   -- all at once, or later ones would overtake them
  end
  return true
end

-- Claim up to `limit` of what waits; returns their entries.
local function hand_out(inbox, receiver, c, limit, until_ms)
  local out, claims, gone, again = {}, {}, 0, 0
  for _, priority in ipairs(c.f and ALL or PLAIN) do
    while #out < limit do
      local asked = limit - #out
      local found = call('LPOP', waiting(priority, inbox), asked) or {}
      for _, entry in ipairs(found) do
        local expires, times, _, id = head(entry)
        if expires <= R.now then
          gone = gone + 1
        else
          c.n = c.n + 1
          if times > 0 then again = again + 1 end
          claims[#claims + 1] = '=' .. id
          claims[#claims + 1] = struct.pack(CLAIM, until_ms, c.n) .. entry
          out[#out + 1] = entry
        end
      end
      if #found < asked then break end
    end
  end
  if c.f and #out < limit then call('HDEL', key('mc', inbox), 'f') end
  if #out > 0 then
    c.receiver, c.last, c.earliest = receiver, math.max(c.last, until_ms), math.min(c.earliest, until_ms)
    claims[#claims + 1] = 'm'
    claims[#claims + 1] = packed(c)
    call_many('HSET', key('mc', inbox), claims)
  end
  less(inbox, gone)
  add('expired', gone)
  add('delivered', #out - again)
  add('redelivered', again)
  return out
end

-- Return what was pushed to this receiver and is still handed out, if it hasn't asked since: it may not have heard.
local function pushed(inbox, c)
  if not c.p then return nil end
  call('HDEL', key('mc', inbox), 'p')
  for _, one in ipairs(handed_out(inbox)) do
    if one[1] == c.p then return one[3] end
  end
end

-- msg_receive: hand out what waits in inboxes, the highest priority and the oldest first.  caller: Inboxes.receive.
--   ARGV: now, receiver, claim (ms), retries, most in all, [[inbox, most of it], ...], '1' to pass over agents that are with another now
--   returns for each inbox its entries, or 0 where the call had handed out as many as it may before it came there.  Keeps true: an inbox
--   is handed out to one receiver at a time; what that doesn't acknowledge before its claim's end comes again in its place, `retries`
--   times at most, and then is among the dead. What was pushed comes first, once more, and a 1 before it.  cost: one command, three for each inbox that holds something.
local function msg_receive(keys, args)
  local now = start(keys, args)
  local receiver, until_ms, retries, left, out, names = args[2], now + tonumber(args[3]), tonumber(args[4]), tonumber(args[5]), {}, {}
  local asked, agents = cmsgpack.unpack(args[6]), {}
  for i, one in ipairs(asked) do names[i], agents[i] = one[1], agent_of(one[1]) end
  local holds, where = get_many(P .. ':inboxes', names), args[7] == '1' and get_many(P .. ':mwho', agents) or {}
  local killed = healing.killed()
  for i, inbox in ipairs(names) do
    local here = (not where[i] or where[i] == receiver) and not (killed and killed(agents[i]))
    out[i] = {}
    if here and holds[i] and left <= 0 then
      out[i] = 0
    elseif here and holds[i] then
      local c = claims_of(inbox)
      if seize(inbox, receiver, c, retries) then
        local again = pushed(inbox, c)
        out[i] = hand_out(inbox, receiver, c, math.min(asked[i][2], left) - (again and 1 or 0), until_ms)
        if again then table.insert(out[i], 1, again) end
        left = left - #out[i]
        if again then table.insert(out[i], 1, 1) end
      end
    end
  end
  flush()
  return out
end

-- Drop those of `ids` that are handed out; the others go to `stale`, with the index of their inbox.
local function drop(inbox, ids, index, stale)
  local name, fields, mine, seen = key('mc', inbox), {}, {}, {}
  if #ids == 1 then
    if call('HDEL', name, '=' .. ids[1]) == 1 then return 1 end
    stale[#stale + 1] = {index, ids[1]}
    return 0
  end
  for i, id in ipairs(ids) do fields[i] = '=' .. id end
  for i, claim in ipairs(get_many(name, fields)) do
    if claim and not seen[fields[i]] then
      mine[#mine + 1] = fields[i]
      seen[fields[i]] = true
    else
      stale[#stale + 1] = {index, ids[i]}
    end
  end
  call_many('HDEL', name, mine)
  return #mine
end

-- msg_done: a receiver has done with messages.  caller: Inboxes.acknowledge.
--   ARGV: now, receiver, [[inbox, [id, ...]], ...]
--   returns [index of the inbox, id] of those that it may not speak for: they were acknowledged before, were given back, or another
--   receiver has the inbox.  cost: some commands, two or three for each inbox.
local function msg_done(keys, args)
  start(keys, args)
  local stale, done = {}, 0
  for i, one in ipairs(cmsgpack.unpack(args[3])) do
    local inbox, ids = one[1], one[2]
    local m = call('HGET', key('mc', inbox), 'm')
    if m and string.sub(m, CLAIMS_BYTES + 1) == args[2] then
      local dropped = drop(inbox, ids, i - 1, stale)
      less(inbox, dropped)
      done = done + dropped
    else
      for _, id in ipairs(ids) do stale[#stale + 1] = {i - 1, id} end
    end
  end
  add('acknowledged', done)
  flush()
  return stale
end

-- msg_listen: a receiver has agents, and hears of their mail from now on.  caller: Inboxes.listen.
--   ARGV: now, receiver, '1' to take them from another receiver, [agent, ...] that it has, [agent, ...] that it has no more, [agent, ...]
--         whose mail it reads as long as it has them: a message may be pushed to it
local function msg_listen(keys, args)
  begin(keys, args)
  local receiver, name, reads = args[2], P .. ':mwho', P .. ':mreads'
  local wanted, others = cmsgpack.unpack(args[4]), cmsgpack.unpack(args[5])
  for i, has in ipairs(get_many(name, wanted)) do
    if has ~= receiver and (not has or args[3] == '1') then call('HSET', name, wanted[i], receiver) end
  end
  for i, has in ipairs(get_many(name, others)) do
    if has == receiver then call('HDEL', name, others[i]) end
  end
  for i, has in ipairs(get_many(reads, others)) do
    if has == receiver then call('HDEL', reads, others[i]) end
  end
  for _, agent in ipairs(args[6] and cmsgpack.unpack(args[6]) or {}) do call('HSET', reads, agent, receiver) end
end

-- msg_topic: an agent asks to hear of a topic, or no more.  caller: Inboxes.subscribe.  ARGV: now, topic, agent, '1' or '0'
local function msg_topic(keys, args)
  begin(keys, args)
  return call(args[4] == '1' and 'SADD' or 'SREM', key('mt', args[2]), args[3])
end

-- msg_audit: keep that messages were refused.  caller: Inboxes.refuse.
--   ARGV: now, [[why, id, sender, recipient, body], ...]; `why` is 'forged', 'forbidden', 'stale' or 'expired'
local function msg_audit(keys, args)
  local now = start(keys, args)
  for _, e in ipairs(cmsgpack.unpack(args[2])) do
    push_capped(P .. ':maudit', {e[1], e[2], e[3], e[4], now}, e[5])
    add('refused_' .. e[1], 1)
  end
  flush()
end

-- msg_backlog: what inboxes hold.  caller: Inboxes.backlog.  ARGV: now.  returns [inbox, held, ...] of those that hold something,
--   expired messages left out.  cost: a look at each.
local function msg_backlog(keys, args)
  start(keys, args)
  local held, out = call('HGETALL', P .. ':inboxes'), {}
  for i = 1, #held, 2 do
    local inbox = held[i]
    less(inbox, clear_expired(inbox))
    clear_lapsed(inbox)
    local n = held[i + 1] - (R.less[inbox] or 0)
    if n > 0 then out[#out + 1], out[#out + 2] = inbox, n end
  end
  flush()
  return out
end

redis.register_function('amas1_msg_send', msg_send)
redis.register_function('amas1_msg_receive', msg_receive)
redis.register_function('amas1_msg_done', msg_done)
redis.register_function('amas1_msg_listen', msg_listen)
redis.register_function('amas1_msg_topic', msg_topic)
redis.register_function('amas1_msg_audit', msg_audit)
redis.register_function('amas1_msg_backlog', msg_backlog)

end

messages()
