-- What a roll-out has to know besides outcomes: what gates thought of either version's work, and which of its runs are suspended.
-- Keys: P:scores  hash  <pool> -> blob of sums since ever: scores, their total, their squares; only of pools that have a choice on trial,
--                       and those in whose place it stands
--       P:suspended:<capability>@<pool>: see 07_routes.lua
-- A gate's task has a field J<round> once that round's score is counted.
-- Shares: P:t:<id> of 00_base.lua.

do
  -- Return the pools of which scores are counted: those on trial, and their bases.
  local function tried(routes)
    local pools = {}
    for _, choices in pairs(routes.of) do
      for _, choice in ipairs(choices) do
        if choice[7] then
          pools[choice[1]] = true
          pools[string.match(choice[1], '^[^~]+')] = true
        end
      end
    end
    return pools
  end

-- score: count what a gate thought of work in one round.  caller: TaskQueue.score.
--   ARGV: the gate's task, round, score, pools that did the work...
--   returns the number of pools that it was counted for: none where both versions of a pool had a part, or none is on trial.
--   Keeps true: a round is counted once, however often it is told.
  local function score(keys, args)
    begin(keys, {'0'})
    local routes = routing.read()
    if not routes then return 0 end
    local pools, told, counted = tried(routes), {}, 0
    for i = 4, #args do told[args[i]] = true end
    for pool in pairs(told) do
      local base = string.match(pool, '^[^~]+')
      if base ~= pool and told[base] then told[base], told[pool] = nil, nil end
    end
    if call('EXISTS', key('t', args[1])) == 0 or call('HSETNX', key('t', args[1]), 'J' .. args[2], 1) == 0 then return 0 end
    local value = tonumber(args[3])
    for pool in pairs(told) do
      if pools[pool] then
        local held = call('HGET', P .. ':scores', pool)
        local sums = held and cmsgpack.unpack(held) or {0, 0, 0}
        call('HSET', P .. ':scores', pool, cmsgpack.pack({sums[1] + 1, sums[2] + value, sums[3] + value * value}))
        counted = counted + 1
      end
    end
    return counted
  end

-- unsuspend: forget suspended tasks of a branch.  caller: Routes.suspended.  ARGV: queue, ids...
  local function unsuspend(keys, args)
    begin(keys, {'0'})
    return call('SREM', P .. ':suspended:' .. args[1], unpack(args, 2))
  end

  redis.register_function('amas1_score', score)
  redis.register_function('amas1_unsuspend', unsuspend)
end
