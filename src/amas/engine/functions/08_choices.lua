-- Which agents a task would rather have, or not: for a while, since work must not wait for ever for somebody who doesn't come.
--
--   P:t:<id> field A    msgpack of [wait_ms, wanted, [agents], time (ms) until which it waits; absent before it was first refused]
--   P:choosy   string   is there while some task may have such a field, so that a claim looks for none otherwise

choices.CHOOSY_MS = 86400000   -- a day, as long as a workflow may take; one that is forgotten counts no more

-- The field of a new task; `choice` is [wait_ms, wanted, agents].
function choices.hold(choice)
  call('SET', P .. ':choosy', 1, 'PX', choices.CHOOSY_MS)
  return cmsgpack.pack(choice)
end

-- Whether one of `agents`, from place `at` on, may have a task; if so, that one comes to `at`.
function choices.seat(id, agents, at)
  local held = call('HGET', key('t', id), 'A')
  if not held then return true end
  local wait_ms, wanted, named, till = unpack(cmsgpack.unpack(held), 1, 4)
  if till and R.now >= till then return true end
  local is_named = {}
  for _, agent in ipairs(named) do is_named[agent] = true end
  for i = at, #agents do
    if (is_named[agents[i]] or false) == wanted then
      agents[at], agents[i] = agents[i], agents[at]
      return true
    end
  end
  if not till then call('HSET', key('t', id), 'A', cmsgpack.pack({wait_ms, wanted, named, R.now + wait_ms})) end
  return false
end

-- Leave tasks in their queues that this claim has nobody for. No bell is rung: whoever asks next looks at them anew.
function choices.put_back(tasks)
  for _, each in ipairs(tasks) do
    local queue = call('HGET', key('t', each[1]), 'q')
    if queue then call('ZADD', key('q', queue), each[2], each[1]) end
  end
end
