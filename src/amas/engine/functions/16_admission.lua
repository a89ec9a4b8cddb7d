-- Admission: workflows that say how many such may be open at a time wait their turn beyond that, and are never refused or lost.
--
-- Keys: P:admitted      set   workflows that were let in and are open      P:lobby  zset  workflows that wait, '<number> <id>' by turn
--       P:lobby:turns  hash  most how many may be in (as it was said last), n workflows that ever waited, v the turn of the one let in
--                            last; t:<tenant> that tenant's next turn, while any workflow waits
-- A workflow's field `admission` is 'in', or its member of P:lobby while it waits; without the field it has nothing to do with this.
-- Tenants take turns by weight and each one's workflows go in the order they came. One that waits is held (see 15_holds.lua): its
-- tasks stand in their queues or aside, and no claim gets them. Who opens an ended one again isn't kept waiting, but it counts.

local function most_admitted() return tonumber(call('HGET', P .. ':lobby:turns', 'most') or math.huge) end

local function admit_next()
  local turns = P .. ':lobby:turns'
  while call('SCARD', P .. ':admitted') < most_admitted() do
    local popped = call('ZPOPMIN', P .. ':lobby')
    if #popped == 0 then return end
    local id = string.match(popped[1], '^%d+ (.*)$')
    call('HSET', turns, 'v', popped[2])
    call('SADD', P .. ':admitted', id)
    call('HSET', key('w', id), 'admission', 'in')
    R.wf_news[#R.wf_news + 1] = {id, 'running'}
    if not call('HGET', key('w', id), 'paused') then
      call('SREM', P .. ':held', id)
      if R.held then R.held[id] = false end
      take_up(id, true)
    end
  end
end

-- Nobody waits: what tenants were owed is forgotten, so that the hash doesn't grow by each that ever came.
local function close_lobby()
  if call('EXISTS', P .. ':lobby') == 1 then return end
  local turns = P .. ':lobby:turns'
  local most, n = unpack(call('HMGET', turns, 'most', 'n'))
  call('DEL', turns)
  call('HSET', turns, 'most', most, 'n', n or 0)
end

-- Let a new workflow in, or have it wait behind those that came before; `most` may be in at a time, from now on.
-- Keeps true: called in the call that stores the workflow, no number of submitters gets more than `most` in.  cost: O(log waiting).
function admission.enter(id, most, tenant)
  local turns = P .. ':lobby:turns'
  call('HSET', turns, 'most', most)
  local n = call('HINCRBY', turns, 'n', 1)
  tenant = tenant or ''
  local held = call('HMGET', turns, 'v', 't:' .. tenant)
  local turn = math.max(tonumber(held[1] or 0), tonumber(held[2] or 0))
  local weight = tonumber(call('HGET', P .. ':weights', tenant) or 1)
  call('HSET', turns, 't:' .. tenant, string.format('%.9f', turn + 1 / weight))
  local member = string.format('%015d %s', n, id)
  call('ZADD', P .. ':lobby', turn, member)
  call('HSET', key('w', id), 'admission', member)
  call('SADD', P .. ':held', id)
  local before = #R.wf_news
  admit_next()
  if call('HGET', key('w', id), 'admission') == member then R.wf_news[#R.wf_news + 1] = {id, 'waiting'}
  elseif #R.wf_news == before + 1 then R.wf_news[#R.wf_news] = nil end   -- let in at once: it never waited
  close_lobby()
end

-- A workflow has ended, as `place` (its field) says out of the lobby or from within: then it's the next one's turn.
function admission.leave(id, place)
  if place == 'in' then call('SREM', P .. ':admitted', id)
  else
    call('ZREM', P .. ':lobby', place)
    call('SREM', P .. ':held', id)
    call('HSET', key('w', id), 'admission', 'in')   -- whoever opens it again has it go on
  end
  admit_next()
  close_lobby()
end

-- A workflow that had ended is open again.
function admission.come_back(id) call('SADD', P .. ':admitted', id) end
