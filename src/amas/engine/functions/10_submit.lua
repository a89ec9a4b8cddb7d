-- Tasks on their way in.

-- Look at a batch and at what it needs: returns the tasks that are stored already by id, the set of new ids, the
-- indices of those that were said before, and the new ones with options; or nil, the refusal and the id at fault.
local function get_states(batch, resend)
  local states, inside, again, with_options = {}, {}, {}, {}
  for i = 1, #batch do
    local t = batch[i]
    local id = t[1]
    if inside[id] or states[id] then return nil, 'duplicate', id end
    if resend and call('EXISTS', key('t', id)) == 1 then
      states[id] = load(id)
      again[#again + 1] = i - 1
    else
      inside[id] = true
      if t[5] then with_options[#with_options + 1] = t end
    end
  end
  for _, t in ipairs(with_options) do
    local options = t[5]
    if options.o then R.compensates = true end
    for _, need in ipairs(options.o and {options.o} or options.n or {}) do
      if not inside[need] and not states[need] then
        local task = load(need)
        if not task then return nil, 'dependency_unknown', need end
        states[need] = task
      end
    end
  end
  return states, inside, again, with_options
end

-- Queue up behind what is still open; returns how many those are, whether one has failed already, and how many have succeeded.
local function wait_on(id, needs, states, flagged)
  local open, doomed, succeeded = 0, false, 0
  for _, need in ipairs(needs) do
    local task = states[need]
    if not task or not TERMINAL[task.s] then
      call('RPUSH', key('d', need), id)
      flagged[need] = true
      open = open + 1
    elseif task.s == 'succeeded' then
      succeeded = succeeded + 1
    elseif task.x ~= 'skip' then
      doomed = true
    end
  end
  return open, doomed, succeeded
end

-- The same for a task that needs only so many of them; returns how many it waits for: 0 when it has its quorum.
local function wait_for_quorum(id, options, states, flagged, put)
  local open, _, succeeded = wait_on('?' .. id, options.n, states, flagged)
  local missing = options.q - succeeded
  put('Q', options.q)
  if missing <= 0 then return 0, false end
  put('i', missing)
  return open, open < missing
end

-- Put what makes a task more than work with needs: its kind, its expiry, what it compensates.
local function put_extras(id, queue, options, put)
  put('X', 1)
  if options.k then put('W', options.k) end
  if options.k == 'timer' then put('d', options.d or 0) end
  if options.e then
    put('E', options.e)
    if options.k ~= 'signal' and not options.o then call('ZADD', P .. ':expiring', R.now + options.e, id) end
  end
  if options.k == 'signal' and options.w then
    local early = call('HGET', key('ws', options.w), queue)
    if early and string.byte(early) == 33 then put('B', string.sub(early, 2)) end   -- '!'
    call('HSET', key('ws', options.w), queue, '=' .. id)
  end
  if options.o then
    put('o', options.o)
    call('HSET', key('t', options.o), 'O', id, 'X', 1, 'k', 1)
    call('HSET', key('w', options.w), 'o', 1)
    if call('HGET', key('t', options.o), 's') == 'succeeded' then call('LPUSH', key('wu', options.w), id) end
  end
end

-- Store one task of a batch; `flagged` gathers the tasks that got dependents. Returns whether it can't succeed any more.
local function add(t, client, states, flagged)
  local id, queue, spec, priority, options = t[1], t[2], t[3], t[4] or 1, t[5]
  if not options or not options.k then R.used[queue] = true end
  if not options and priority == 1 then   -- most tasks, and these calls are most of what a submission costs
    local to, why = ready(id, queue, priority)
    if why then call('HSET', key('t', id), 's', 'queued', 'q', to, 'b', spec, 'y', client, 'route', why, 'k', 1)
    else call('HSET', key('t', id), 's', 'queued', 'q', queue, 'b', spec, 'y', client) end
    return false
  end
  options = options or {}
  local fields = {'s', 'queued', 'q', queue, 'b', spec}
  local function put(name, value) fields[#fields + 1] = name; fields[#fields + 1] = value end
  if priority ~= 1 then put('p', priority) end
  if not options.w then put('y', client) end   -- a workflow's submitter hears of the workflow
  if options.m and options.m ~= RETRIES then put('m', options.m) end
  if options.x and options.x ~= 'fail' then put('x', options.x) end
  if options.u then put('u', options.u) end
  local special = options.q or options.k or options.e or options.o
  if special or options.w or options.u or options.x then put('k', 1) end
  if special then put_extras(id, queue, options, put) end
  if options.z then put('A', choices.hold(options.z)) end
  if options.r or R.inherited then put('v', resources.wants(id, options.r)) end
  local tenant, cost = options.t, options.c and options.c * 1000
  if tenant then put('T', tenant) end
  if cost then put('K', cost) end
  local open, doomed = 0, false
  if options.n and not options.o then
    if options.q then open, doomed = wait_for_quorum(id, options, states, flagged, put)
    else open, doomed = wait_on(id, options.n, states, flagged) end
  end
  local delay = options.d or 0
  if open > 0 or doomed or options.k == 'signal' or options.o then
    fields[2] = 'waiting'
    put('n', open)
    if delay > 0 and not options.k then put('d', delay) end
  elseif delay > 0 or options.k then
    fields[2] = 'delayed'
    call('ZADD', P .. ':delayed', R.now + delay, id)
    effect(id, 'delayed', cmsgpack.pack(R.now + delay))
  else
    local to, why = ready(id, queue, priority, tenant, options.w, cost, options.z)
    if why then
      fields[4] = to
      put('route', why)
      put('k', 1)
    end
  end
  if fields[2] == 'waiting' then effect(id, 'waiting') end
  if options.w then
    put('w', options.w)
    local workflow = tally(options.w)
    workflow.total = workflow.total + 1
    if not options.o then workflow.open = workflow.open + 1 end
    local ids = R.added[options.w] or {}
    ids[#ids + 1] = id
    R.added[options.w] = ids
  end
  call('HSET', key('t', id), unpack(fields))
  if options.k == 'signal' and open == 0 and not doomed then R.asking[#R.asking + 1] = id end
  return doomed
end

-- The first workflow of new tasks that takes none, because it has ended or never was; nil when all do.
local function closed_workflow(tasks)
  local open = {}
  for _, t in ipairs(tasks) do
    local id = t[5].w
    if id and not open[id] then
      local state = call('HGET', key('w', id), 's')
      if state ~= 'running' and not (state == 'compensating' and t[5].u) then return id end
      open[id] = true
    end
  end
end

-- The first compensation in a batch whose target isn't a task of its workflow, or has another already; nil when all are fit.
local function unfit_compensation(batch, inside, states)
  local homes, taken = {}, {}
  for _, t in ipairs(batch) do homes[t[1]] = t[5] and t[5].w end
  for _, t in ipairs(batch) do
    local target = inside[t[1]] and t[5] and t[5].o
    if target then
      local home = homes[target] or (states[target] and states[target].w)
      if not home or home ~= t[5].w or taken[target] or (states[target] and states[target].O) then return t[1] end
      taken[target] = true
    end
  end
end

-- Store a whole batch or nothing: returns nil and the indices of what was stored before; or why it was refused, and the id at fault.
local function add_batch(batch, client, resend)
  local states, inside, again, with_options = get_states(batch, resend)
  if not states then return inside, again end   -- the refusal and the id at fault
  local closed = closed_workflow(with_options)
  if closed then return 'workflow_closed', closed end
  local unfit = R.compensates and unfit_compensation(batch, inside, states)
  if unfit then return 'compensation_unfit', unfit end
  R.added, R.used, R.asking = {}, {}, {}
  local flagged, doomed = {}, {}
  for i = 1, #batch do
    local t = batch[i]
    if inside[t[1]] and add(t, client, states, flagged) then doomed[#doomed + 1] = t[1] end
  end
  if #batch > #again then count('submitted', #batch - #again) end
  for need in pairs(flagged) do call('HSET', key('t', need), 'D', 1, 'k', 1) end
  for workflow, ids in pairs(R.added) do call_many('RPUSH', key('wt', workflow), ids) end
  local queues = {}
  for queue in pairs(R.used) do queues[#queues + 1] = queue end
  if #queues > 0 then call_many('SADD', P .. ':queues', queues) end
  for _, id in ipairs(R.asking) do satisfy(load(id)) end
  for _, id in ipairs(doomed) do abandon(load(id), 'dependency_failed', 'a task that it needs didn\'t succeed') end
  return nil, again
end

-- submit: store a batch of tasks, and the workflow that they belong to.
--   caller: TaskQueue.submit.  ARGV: now, retention_ms, client ('' for no reply), resend ('1': ids that exist are left as they
--   are), idempotency key ('' for none), its digest, how long it is kept (ms), answer blob kept with it,
--   workflow ('' or [id, blob, root id, budget,
--   how many workflows with such a number may be open at a time: one beyond that waits]), batch [[id, queue, spec, priority, {n needs, d delay, w, u, m, x,
--   q quorum, k kind, e expires (ms), o compensates, r what it reserves,
--   z [wait_ms, wanted, agents]: which agents it would rather have, or not}]...]
--   returns ['ok'] | ['seen', answer] | ['conflict'] | ['queue_full', ...] (see no_room) | [refusal, id].  Keeps true: all or nothing; an accepted task has one state.
--   cost: O(tasks + needs).
local function submit(keys, args)
  begin(keys, args)
  R.retention = tonumber(args[2])
  local client, idem = args[3], args[5]
  if idem ~= '' then
    local seen = call('HMGET', key('idem', idem), 'digest', 'answer')
    if seen[1] == args[6] then return {'seen', seen[2]} end
    if seen[1] then return {'conflict'} end
  end
  local batch = cmsgpack.unpack(args[10])
  local full = no_room(batch, args[4] == '1')
  if full then return full end
  local fields, budget, most = {'b', args[10]}, nil, nil
  if args[9] ~= '' then
    local id, blob, root, limits, at_a_time = unpack(cmsgpack.unpack(args[9]), 1, 5)
    if call('HSETNX', key('w', id), 's', 'running') == 1 then
      call('HSET', key('w', id), 'b', blob, 'c', R.now, 'y', client)
      if root and root ~= '' then call('HSET', key('w', id), 'root', root) end
      call('ZADD', P .. ':open', R.now, id)
      fields[3], fields[4] = 'w', args[9]
      budget = limits and {'workflow/' .. id, limits}
      most = at_a_time and {id, at_a_time, batch[1] and batch[1][5] and batch[1][5].t}
    end
  end
  local refused, detail = add_batch(batch, client, args[4] == '1')
  if refused then
    if fields[3] then
      call('DEL', key('w', cmsgpack.unpack(args[9])[1]))
      call('ZREM', P .. ':open', cmsgpack.unpack(args[9])[1])
    end
    return {refused, detail}
  end
  if budget then resources.open_budget(unpack(budget)) end
  if most then admission.enter(unpack(most, 1, 3)) end
  if idem ~= '' then
    call('HSET', key('idem', idem), 'digest', args[6], 'answer', args[8])
    call('PEXPIRE', key('idem', idem), args[7])
  end
  count_let_in()
  note_refused(detail, fields)
  commit('submit', fields)
  return {'ok'}
end

redis.register_function('amas1_submit', submit)
