-- Tasks handed to hosts.

-- Take up to n ids from several queues, oldest effective age first.
local function pop(queues, n)
  local ids = {}
  if #queues == 1 then
    local popped = call('ZPOPMIN', key('q', queues[1]), n)
    for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
    return ids
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
    local popped = call('ZPOPMIN', key('q', best), only and n - #ids or 1)
    for i = 1, #popped, 2 do ids[#ids + 1] = popped[i] end
    if only then break end
    look(best)
  end
  return ids
end

-- claim: hand queued tasks to a host's free agents.
--   caller: TaskQueue.claim.  ARGV: now, host, groups [[queues, agent ids (one for each free slot)]...]
--   returns one msgpack array of [id, attempt, agent, failures, resumed, spec], or 'lost' when the host holds no lease.
--   Keeps true: each task goes to one attempt, numbered one higher than the last.  cost: O(claimed * log queued + queues).
local function claim(keys, args)
  begin(keys, args)
  local host = args[2]
  if not call('ZSCORE', P .. ':hosts', host) then return 'lost' end
  local out, journal, running = {}, {}, {}
  for _, group in ipairs(cmsgpack.unpack(args[3])) do
    local queues, agents = group[1], group[2]
    for i, id in ipairs(pop(queues, #agents)) do
      local v = call('HMGET', key('t', id), 's', 'a', 'f', 'S', 'C', 'b')
      if v[1] == 'queued' then
        local attempt, agent = (tonumber(v[2]) or 0) + 1, agents[i]
        if attempt == 1 then call('HSET', key('t', id), 's', 'running', 'a', 1, 'h', host, 'g', agent, 't', R.stamp)
        else call('HSET', key('t', id), 's', 'running', 'a', attempt, 'h', host, 'g', agent) end
        running[#running + 1] = id
        running[#running + 1] = agent
        journal[#journal + 1] = {id, attempt, agent}
        out[#out + 1] = '\150'
        out[#out + 1] = cmsgpack.pack(id, attempt, agent, tonumber(v[3]) or 0, (v[4] or v[5]) and true or false)
        out[#out + 1] = v[6]
      end
    end
  end
  if #journal == 0 then return array_header(0) end
  call_many('HSET', key('r', host), running)
  count('claimed', #journal)
  commit('claim', {'h', host, 'b', cmsgpack.pack(journal)})
  return array_header(#journal) .. table.concat(out)
end

redis.register_function('amas1_claim', claim)
