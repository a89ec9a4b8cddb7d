-- Tasks handed to hosts.

-- Take up to n ids from several queues, oldest effective age first.
local function pop(queues, n)
  local ids, scores = {}, {}
  local function take(popped)
    for i = 1, #popped, 2 do ids[#ids + 1] = popped[i]; scores[#ids] = popped[i + 1] end
  end
  if #queues == 1 then
    take(call('ZPOPMIN', key('q', queues[1]), n))
    return ids, scores
  end
  local heads = {}
  local function look(queue)
    local head = call('ZRANGE', key('q', queue), 0, 0, 'WITHSCORES')
    heads[queue] = head[1] and tonumber(head[2]) or nil
  end
  for _, queue in ipairs(queues) do look(queue) end
  while #ids < n do
    local best
    for queue, score in pairs(heads) do
      if not best or score < heads[best] or (score == heads[best] and queue < best) then best = queue end
    end
    if not best then break end
    -- While only one queue has work, it is emptied in one call.
    local only = next(heads) == best and next(heads, best) == nil
    take(call('ZPOPMIN', key('q', best), only and n - #ids or 1))
    if only then break end
    look(best)
  end
  return ids, scores
end

local READ = {'s', 'a', 'f', 'S', 'C', 'b', 'G'}
local READ_WHILE_HELD = {'s', 'a', 'f', 'S', 'C', 'b', 'G', 'w'}

-- Iterate over up to n tasks of several queues: position, id and fields. Tasks of held workflows go to where `resume` finds them.
local function next_of(queues, n, anything_held)
  local ids, scores = pop(queues, n)
  local at, taken, set_aside = 0, 0, 0
  return function()
    while true do
      at = at + 1
      if at > #ids then
        if set_aside == 0 or R.budget <= 0 then return nil end
        ids, scores = pop(queues, math.min(n - taken, R.budget))
        at, set_aside = 1, 0
        if not ids[1] then return nil end
      end
      local id = ids[at]
      local v = call('HMGET', key('t', id), unpack(anything_held and READ_WHILE_HELD or READ))
      if v[1] == 'queued' then
        if anything_held and v[8] and is_held(v[8]) then
          call('ZADD', key('wp', v[8]), scores[at], id)
          set_aside, R.budget = set_aside + 1, R.budget - 1
        else
          taken = taken + 1
          return taken, id, v
        end
      end
    end
  end
end

-- claim: hand queued tasks to a host's free agents.
--   caller: TaskQueue.claim.  ARGV: now, host, groups [[queues, agent ids (one for each free slot)]...]
--   returns one msgpack array of [id, attempt, agent, failures, resumed, spec, generation where it isn't 0], or 'lost' when the host holds no lease.
--   Keeps true: each task goes to one attempt, numbered one higher than the last.  cost: O(claimed * log queued + queues).
local function claim(keys, args)
  begin(keys, args)
  local host = args[2]
  if not call('ZSCORE', P .. ':hosts', host) then return 'lost' end
  local out, journal, running, asked = {}, {}, {}, 0
  local anything_held = call('EXISTS', P .. ':held') == 1
  for _, group in ipairs(cmsgpack.unpack(args[3])) do
    local queues, agents = group[1], group[2]
    asked = asked + #agents
    for i, id, v in next_of(queues, #agents, anything_held) do
      local attempt, agent = (tonumber(v[2]) or 0) + 1, agents[i]
      if attempt == 1 then call('HSET', key('t', id), 's', 'running', 'a', 1, 'h', host, 'g', agent, 't', R.stamp)
      else call('HSET', key('t', id), 's', 'running', 'a', attempt, 'h', host, 'g', agent) end
      running[#running + 1] = id
      running[#running + 1] = agent
      journal[#journal + 1] = {id, attempt, agent}
      out[#out + 1] = v[7] and '\151' or '\150'
      out[#out + 1] = cmsgpack.pack(id, attempt, agent, tonumber(v[3]) or 0, (v[4] or v[5]) and true or false)
      out[#out + 1] = v[6]
      if v[7] then out[#out + 1] = cmsgpack.pack(tonumber(v[7])) end
    end
  end
  if #journal > 0 then
    call_many('HSET', key('r', host), running)
    count('claimed', #journal)
    commit('claim', {'h', host, 'b', cmsgpack.pack(journal)})
  end
  if #journal < asked then tend_in_passing(keys, args) end
  return array_header(#journal) .. table.concat(out)
end

redis.register_function('amas1_claim', claim)
