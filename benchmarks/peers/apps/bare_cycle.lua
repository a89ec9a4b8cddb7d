#!lua name=bare
-- The least that a durable queue does for a task: store it, lease it to a worker, store its result, tell who waits for it, and
-- write both changes into a stream. Nothing is checked, fenced, retried, shared fairly or bounded.
-- Keys: `task:ID` (hash: body, state, tries, worker, result), `queue` (ids), `leases` (ids by when they run out, ms), `events`
-- (stream), `bell` (what an idle worker waits on), and the channel `ended`.

local EVENTS_MAX = '200000'
local BELLS_MAX = 4

local function tell(event, id)
  redis.call('XADD', 'events', 'MAXLEN', '~', EVENTS_MAX, '*', 'event', event, 'task', id)
end

-- Arguments: id, body, id, body, ...
redis.register_function('submit', function(_, args)
  for at = 1, #args, 2 do
    redis.call('HSET', 'task:' .. args[at], 'body', args[at + 1], 'state', 'queued', 'tries', '0')
    redis.call('LPUSH', 'queue', args[at])
    tell('submitted', args[at])
  end
  if redis.call('LLEN', 'bell') < BELLS_MAX then redis.call('LPUSH', 'bell', '1') end
  return #args / 2
end)

-- Arguments: most tasks, worker, when its lease on them runs out (ms). Returns id, body, id, body, ...
redis.register_function('claim', function(_, args)
  local claimed = {}
  for _, id in ipairs(redis.call('RPOP', 'queue', args[1]) or {}) do
    redis.call('HSET', 'task:' .. id, 'state', 'running', 'worker', args[2])
    redis.call('ZADD', 'leases', args[3], id)
    claimed[#claimed + 1] = id
    claimed[#claimed + 1] = redis.call('HGET', 'task:' .. id, 'body')
  end
  return claimed
end)

-- Arguments: id, result, id, result, ...
redis.register_function('complete', function(_, args)
  local ids = {}
  for at = 1, #args, 2 do
    redis.call('HSET', 'task:' .. args[at], 'state', 'succeeded', 'result', args[at + 1])
    redis.call('ZREM', 'leases', args[at])
    tell('succeeded', args[at])
    ids[#ids + 1] = args[at]
  end
  redis.call('PUBLISH', 'ended', table.concat(ids, ','))
  return #ids
end)
