-- Messages between agents: durable inboxes, claimed in order, handed out at least once.
--
-- An inbox is named by its agent, or by its agent, '#' and the id of a request that it waits to be answered.
-- Keys: P:in:<inbox>  zset  what waits, by priority and then arrival     P:ic:<inbox> zset  what is handed out, by end of its claim
--       P:ib:<inbox>  hash  id -> body, of what waits or is handed out   P:ix:<inbox> zset  ids by when to look at them: a held message
--                                                                               at its expiry, a past one until nobody can repeat it
--       P:im:<inbox>  hash  n arrivals, o receiver, u end of its claim; =<id> place and deliveries of what was handed out before;
--                           p pace: gone, t and g as refusals saw it, r gone a ms
--       P:inboxes     set   inboxes that hold something                  P:mt:<topic> set  agents that asked to hear of it
--       P:mtotals     hash  counters                                     P:mdead, P:maudit  lists, the newest first, capped
-- Channel: P:mail:<agent>, whenever something came in for it.
-- Nothing here is in the journal: a message lives for minutes, and the history has no use for it. An agent without messages costs nothing.

local function messages()   -- a scope of its own: the library's main chunk may hold 200 locals

local LIFE = 90000000       -- ms; longer than any message may live and be known: an inbox that nobody touches is gone after it
local SWEEP = 1000          -- messages that a call clears of an inbox at most
local BATCH = 1000          -- messages of an inbox that a call hands out or acknowledges at most; Lua's stack holds twice that
local LISTED = 1000         -- dead messages and refusals that are kept
local PRIORITY_SPAN = 2 ^ 50 -- arrivals within a priority; 4 priorities of them still are exact numbers
local PAUSE = 1000          -- ms: what a refused sender waits where nobody can tell how fast the inbox drains
local PACE_MIN, PAUSE_MAX = 200, 60000
local tally = {}

local function add(name, n) if n ~= 0 then tally[name] = (tally[name] or 0) + n end end

local function flush()
  for name, n in pairs(tally) do call('HINCRBY', P .. ':mtotals', name, n) end
  tally = {}
end

-- Let an inbox's keys live on; asked first, so that the log gets a word about it twice a day and not with each message.
local function keep_alive(kind, inbox)
  local name = key(kind, inbox)
  local left = call('PTTL', name)
  if left == -1 or (left >= 0 and left < LIFE / 2) then call('PEXPIRE', name, LIFE) end
end

local function held(inbox) return call('HLEN', key('ib', inbox)) end

-- Let go of messages, whose ids are known until `known_until`.
local function drop(inbox, ids, known_until)
  if #ids == 0 then return end
  local marks, times = {}, {}
  for i, id in ipairs(ids) do
    marks[i] = '=' .. id
    times[2 * i - 1], times[2 * i] = known_until, id
  end
  call('HDEL', key('ib', inbox), unpack(ids))
  call('ZREM', key('in', inbox), unpack(ids))
  call('ZREM', key('ic', inbox), unpack(ids))
  call('HDEL', key('im', inbox), unpack(marks))
  call('HINCRBY', key('im', inbox), 'p', #ids)
  if known_until then call('ZADD', key('ix', inbox), unpack(times)) else call('ZREM', key('ix', inbox), unpack(ids)) end
end

local function note_empty(inbox) if held(inbox) == 0 then call('SREM', P .. ':inboxes', inbox) end end

-- Clear what has expired, and forget ids that nobody can repeat any more.
local function clear_expired(inbox)
  local ids = call('ZRANGEBYSCORE', key('ix', inbox), '-inf', R.now, 'LIMIT', 0, SWEEP)
  for _, id in ipairs(ids) do add('expired', call('HEXISTS', key('ib', inbox), id)) end
  drop(inbox, ids)
  if #ids > 0 then note_empty(inbox) end
end

-- An item is the length of its head, its head in msgpack, and the body as it came: msgpack of here has no word for bytes.
local function push_capped(name, head, body)
  head = cmsgpack.pack(head)
  call('LPUSH', P .. ':' .. name, struct.pack('>I4', #head) .. head .. body)
  call('LTRIM', P .. ':' .. name, 0, LISTED - 1)
end

-- Put what was handed out back to its place, or among the dead when it was handed out too often.
local function put_back(inbox, ids, retries)
  for _, id in ipairs(ids) do
    local place, deliveries = string.match(call('HGET', key('im', inbox), '=' .. id) or '', '^(%S+) (%d+)$')
    if tonumber(deliveries) > retries then
      push_capped('mdead', {inbox, id, tonumber(deliveries), R.now}, call('HGET', key('ib', inbox), id))
      drop(inbox, {id}, R.now + R.window)
      add('dead', 1)
    else
      call('ZREM', key('ic', inbox), id)
      call('ZADD', key('in', inbox), place, id)
    end
  end
  if #ids > 0 then note_empty(inbox) end
end

-- ms after which a full inbox may have room, by the pace at which messages have left it lately.
local function room_in_ms(inbox)
  local name = key('im', inbox)
  local v = call('HMGET', name, 'p', 't', 'g', 'r')
  local gone, since, rate = tonumber(v[1]) or 0, tonumber(v[2]), tonumber(v[4])
  if not since or R.now - since >= PACE_MIN then
    if since then
      local seen = (gone - tonumber(v[3])) / (R.now - since)
      rate = rate and (rate + seen) / 2 or seen
      call('HSET', name, 'r', string.format('%.9f', rate))
    end
    call('HSET', name, 't', R.now, 'g', gone)
  end
  if not rate or rate <= 0 then return PAUSE end
  return math.min(math.max(math.ceil(1 / rate), 1), PAUSE_MAX)
end

-- Why a message isn't taken, or nil: 'same' (a repeat), 'replayed', 'stale', 'expired', 'full'.
local function not_taken(m, resend, holds, critical)
  local inbox, id, sent, expires = m[1], m[2], m[6], m[7]
  if call('ZSCORE', key('ix', inbox), id) then return resend and 'same' or 'replayed' end
  if math.abs(R.now - sent) > R.window then return 'stale' end
  if expires <= R.now or expires - R.now > LIFE then return 'expired' end
  if holds >= critical then return 'full' end
end

local function take(m)
  local inbox, id = m[1], m[2]
  local place = (3 - m[5]) * PRIORITY_SPAN + call('HINCRBY', key('im', inbox), 'n', 1)
  call('HSET', key('ib', inbox), id, m[8])
  call('ZADD', key('in', inbox), string.format('%.0f', place), id)
  call('ZADD', key('ix', inbox), m[7], id)
end

-- msg_send: put messages into inboxes.  caller: Inboxes.send.
--   ARGV: now, replay window (ms), most that an inbox holds, resend ('1': a known id is no replay),
--         [[inbox, id, sender, recipient, priority, sent (ms), expires (ms), body], ...]
--   returns for each [what: 'ok' | 'same' | 'replayed' | 'stale' | 'expired' | 'full', held in that inbox, ms until there may be room].
--   Keeps true: a repeat changes nothing; of one sender's messages to one inbox none overtakes another of its priority, also where
--   some are refused as 'full', since all that follow in the call are then.  cost: about ten commands a message.
local function msg_send(keys, args)
  begin(keys, args)
  R.window = tonumber(args[2])
  local critical, resend, out, holds, names, agents = tonumber(args[3]), args[4] == '1', {}, {}, {}, {}
  for i, m in ipairs(cmsgpack.unpack(args[5])) do
    local inbox = m[1]
    if not holds[inbox] then
      clear_expired(inbox)
      names[#names + 1], agents[inbox], holds[inbox] = inbox, m[4], held(inbox)
    end
    local why = not_taken(m, resend, holds[inbox], critical)
    if not why then
      take(m)
      holds[inbox] = holds[inbox] + 1
      add('sent', 1)
    elseif why ~= 'same' then
      add('refused_' .. why, 1)
      if why == 'replayed' or why == 'stale' then push_capped('maudit', {why, m[2], m[3], m[4], R.now}, m[8]) end
    end
    out[i] = {why or 'ok', holds[inbox], why == 'full' and room_in_ms(inbox) or 0}
  end
  for _, inbox in ipairs(names) do
    for _, kind in ipairs({'in', 'ib', 'ix', 'im'}) do keep_alive(kind, inbox) end
    if holds[inbox] > 0 then
      call('SADD', P .. ':inboxes', inbox)
      call('PUBLISH', key('mail', agents[inbox]), '')
    end
  end
  flush()
  return out
end

-- Make `receiver` the one that an inbox is handed out to; returns nil, or when the claim of another ends.
local function seize(inbox, receiver, retries)
  local v = call('HMGET', key('im', inbox), 'o', 'u')
  local handed = call('ZCARD', key('ic', inbox))
  if v[1] and v[1] ~= receiver and handed > 0 then
    if tonumber(v[2]) > R.now then return tonumber(v[2]) end
    put_back(inbox, call('ZRANGE', key('ic', inbox), 0, -1), retries)   -- all at once, or later ones would overtake them
  elseif handed > 0 then
    put_back(inbox, call('ZRANGEBYSCORE', key('ic', inbox), '-inf', R.now), retries)
  end
end

local function hand_out(inbox, limit, until_ms)
  local taken, ids, marks, out = call('ZPOPMIN', key('in', inbox), limit), {}, {}, {}
  for i = 1, #taken, 2 do
    ids[#ids + 1] = taken[i]
    marks[#marks + 1] = '=' .. taken[i]
  end
  if #ids == 0 then return out end
  local before, bodies = call('HMGET', key('im', inbox), unpack(marks)), call('HMGET', key('ib', inbox), unpack(ids))
  local places, claims, again = {}, {}, 0
  for i, id in ipairs(ids) do
    local deliveries = 1 + (before[i] and tonumber(string.match(before[i], ' (%d+)$')) or 0)
    if deliveries > 1 then again = again + 1 end
    places[2 * i - 1], places[2 * i] = marks[i], string.format('%.0f %d', tonumber(taken[2 * i]), deliveries)
    claims[2 * i - 1], claims[2 * i] = until_ms, id
    out[i] = {id, deliveries, bodies[i]}
  end
  call('HSET', key('im', inbox), unpack(places))
  call('ZADD', key('ic', inbox), unpack(claims))
  add('delivered', #ids - again)
  add('redelivered', again)
  return out
end

-- msg_receive: hand out what waits in inboxes, the highest priority and the oldest first.  caller: Inboxes.receive.
--   ARGV: now, replay window (ms), receiver, claim (ms), retries, most of each inbox, [inbox, ...]
--   returns for each inbox [[id, deliveries, body], ...].  Keeps true: an inbox is handed out to one receiver at a time; what that
--   doesn't acknowledge before its claim's end comes again in its place, `retries` times at most, and then is among the dead.
local function msg_receive(keys, args)
  local now = begin(keys, args)
  R.window = tonumber(args[2])
  local receiver, until_ms, retries, out = args[3], now + tonumber(args[4]), tonumber(args[5]), {}
  for i, inbox in ipairs(cmsgpack.unpack(args[7])) do
    out[i] = {}
    if call('EXISTS', key('ib', inbox)) == 1 then
      clear_expired(inbox)
      if not seize(inbox, receiver, retries) then
        out[i] = hand_out(inbox, math.min(tonumber(args[6]), BATCH), until_ms)
        if #out[i] > 0 then
          call('HSET', key('im', inbox), 'o', receiver, 'u', until_ms)
          keep_alive('ic', inbox)
        end
      end
    end
  end
  flush()
  return out
end

-- msg_done: a receiver has done with messages.  caller: Inboxes.acknowledge.
--   ARGV: now, replay window (ms), receiver, inbox, [id, ...]
--   returns the ids that it may not speak for: they have expired, were acknowledged before, or another receiver has the inbox.
local function msg_done(keys, args)
  local now = begin(keys, args)
  local receiver, inbox, ids, mine, stale = args[3], args[4], cmsgpack.unpack(args[5]), {}, {}
  local owns, seen = call('HGET', key('im', inbox), 'o') == receiver, {}
  for _, id in ipairs(ids) do
    if owns and not seen[id] and #mine < BATCH and call('HEXISTS', key('im', inbox), '=' .. id) == 1 then
      mine[#mine + 1], seen[id] = id, true
    else
      stale[#stale + 1] = id
    end
  end
  drop(inbox, mine, now + tonumber(args[2]))
  add('acknowledged', #mine)
  note_empty(inbox)
  flush()
  return stale
end

-- msg_topic: an agent asks to hear of a topic, or no more.  caller: Inboxes.subscribe.  ARGV: now, topic, agent, '1' or '0'
local function msg_topic(keys, args)
  begin(keys, args)
  return call(args[4] == '1' and 'SADD' or 'SREM', key('mt', args[2]), args[3])
end

-- msg_audit: keep that messages were refused.  caller: Inboxes.refuse.
--   ARGV: now, [[why, id, sender, recipient, body], ...]; `why` is 'forged', 'forbidden', 'stale' or 'expired'
local function msg_audit(keys, args)
  local now = begin(keys, args)
  for _, e in ipairs(cmsgpack.unpack(args[2])) do
    push_capped('maudit', {e[1], e[2], e[3], e[4], now}, e[5])
    add('refused_' .. e[1], 1)
  end
  flush()
end

-- msg_backlog: what inboxes hold.  caller: Inboxes.backlog.  ARGV: now.  returns [inbox, held, ...] of those that hold something,
--   expired messages left out.  cost: a look at each.
local function msg_backlog(keys, args)
  begin(keys, args)
  local out = {}
  for _, inbox in ipairs(call('SMEMBERS', P .. ':inboxes')) do
    clear_expired(inbox)
    local n = held(inbox)
    if n > 0 then
      out[#out + 1] = inbox
      out[#out + 1] = n
    else
      call('SREM', P .. ':inboxes', inbox)
    end
  end
  flush()
  return out
end

redis.register_function('amas1_msg_send', msg_send)
redis.register_function('amas1_msg_receive', msg_receive)
redis.register_function('amas1_msg_done', msg_done)
redis.register_function('amas1_msg_topic', msg_topic)
redis.register_function('amas1_msg_audit', msg_audit)
redis.register_function('amas1_msg_backlog', msg_backlog)

end

messages()
