-- What every transition shares. The files of this folder are joined in the order of their names and loaded as one library.
--
-- Words on the wire: a batch is one msgpack array; a blob is msgpack that Python made and no function here reads.
-- Keys (P is the cell's prefix, KEYS[1] of every call; it carries the hash tag, so all keys lie in one slot):
--   P:t:<id>     hash    a task: s state, q queue, b spec, p priority (1 if absent), f failures, l hosts lost, m retries, w workflow,
--                        u parent, n open dependencies, d delay, x 'skip', T tenant, K declared cost (us), z finished, r result, e failure,
--                        y reply channel, D has dependents, C has children, S has steps,
--                        c the last claim: attempt, host, agent and when it was first started, by lines (absent before the first),
--                        v and V the resources that it needs and holds, see 05_taking.lua and 05_resources.lua,
--                        route why it was sent to a pool that its submitter didn't name, see 07_routes.lua,
--                        k has one of w, u, x, D, C, S, V, X, route, without which its end touches nothing else
--                        X has one of: W kind, Q quorum, i successes missing to it, E expires (ms), o what it compensates, O what
--                        compensates it, U its compensation is under way, B the answer to a signal
--                        A which agents it would rather have, or not: 08_choices.lua
--                        H the agents that it has crashed: 58_healing.lua
--                        Z cancelled because its workflow or its parent ended, Y it was reset, G times it was reset to start anew,
--                        N nobody's: what spawned it has started anew
--   P:d:<id>     list    tasks that wait on it; '^' before one that waits for the end, however it ends; '?' before one with a quorum
--   P:c:<id>     list    sub-tasks that it spawned           P:s:<id>   hash   its journaled steps
--   P:bounds     hash    queue -> most tasks in it           P:pace:<queue> hash how it drains: 06_bounds.lua
--   P:q:<queue>  zset    queued ids by virtual start time    P:let_in   hash   queue -> tasks ever let in
--   P:queues     set     queues ever used                    P:arrived  hash   queue -> tasks ever queued, once somebody asks
--   P:qs:<queue> hash    v virtual time, c learned cost (us)
--   P:pass       hash    queue -> its virtual time among those of its pool; '' now
--   P:fl:<queue> <priority> <tenant>  zset  flows (workflow, or '') by virtual finish time
--   P:weights    hash    tenant -> its weight (1 if absent)
--   P:parked     hash    queue -> how many of its tasks are parked
--   P:delayed    zset    delayed ids by due time             P:dead     zset   dead letters by time
--   P:w:<id>     hash    a workflow: s state, b blob, root, total, open, succeeded, failed, cancelled, bad, halted, y, c created, z finished,
--                        paused, o has compensations, v state in which it ends after them, at where the cancelling of its tasks stands,
--                        forgotten in part, admission its place where it takes turns: 16_admission.lua
--   P:wt:<id>    list    its tasks                           P:ended    zset   workflows by the time to forget them
--   P:gone       list    ended tasks outside any workflow, one element a call: when to forget them, then a line for each
--   P:ws:<id>    hash    its signals by key: '=' and the task, or '!' and an answer that came before the task
--   P:wu:<id>    list    compensations of what has succeeded in it, the last first
--   P:wp:<id>    zset    its queued tasks that were met while it was held, with their scores
--   P:held       set     workflows of which nothing is claimed: paused, or ended with tasks still to be cancelled
--   P:expiring   zset    tasks by the time when they fail unless they have ended
--   P:chores     list    what calls have left to do, being too much for one: see chore()
--   P:open       zset    open workflows by when they were opened last
--   P:hosts      zset    hosts by end of lease               P:h:<host> hash   what a host says of itself
--   P:r:<host>   hash    task -> agent, what it runs         P:journal  stream every transition
--   P:idem:<key> hash    first answer to an idempotency key  P:totals   hash   counters since the engine began
-- Channels: P:bell (queue names), P:reply:<client> (outcomes), P:host:<host> (ids to stop).
-- The files up to 50_hosts.lua share these, and each other's. Any other file names in its header each key that it uses; one that is
-- another's it names after 'Shares', with that file. tests/style/test_keys.py holds them to it.
--
-- One entry of the journal is one call: k kind, t time, and as needed h host, b the batch as it came, x indices of b that changed nothing,
-- fx what else changed ([id, state, blob|due]), wf workflows that ended or began ([id, state]),
-- u what a suspended attempt had used ([id, attempt, usage]).

local P            -- prefix of the call under way
local R            -- what the call under way has gathered, see begin()

local TERMINAL = {succeeded = true, failed = true, cancelled = true}
local RETRIES = 3                   -- where a task says nothing
local HOSTS_LOST_MAX = 8            -- a task that went down with more hosts than this is the likely cause
local SLICE = 500                   -- tasks that a call follows up at most, besides its own batch: some milliseconds

local resources = {} -- what 05_resources.lua and 05_taking.lua do for the others
local choices = {}   -- what 08_choices.lua does for the others
local admission = {} -- what 16_admission.lua does for the others
local routing = {}   -- what 07_routes.lua does for the others
local healing = {}   -- what 58_healing.lua does for the others
local call         -- redis.call, which doesn't exist yet while the library is loaded

local function begin(keys, args)
  P, call = keys[1], redis.call
  local now = tonumber(args[1])
  if now == 0 then
    local time = call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  R = {now = now, stamp = string.format('%d', now), ready = {}, queues = {}, flows = {}, weights = {}, gone = {}, replies = {}, reply_counts = {}, fx = {}, wf = {}, ends = {}, wf_news = {}, stops = {}, totals = {}, budget = SLICE}
  return now
end

local function key(kind, id) return P .. ':' .. kind .. ':' .. id end

local function count(name, n) R.totals[name] = (R.totals[name] or 0) + (n or 1) end

-- Variadic commands in pieces: Lua's stack holds no more than 8000 values.
local function call_many(command, name, list)
  for first = 1, #list, 1000 do
    call(command, name, unpack(list, first, math.min(first + 999, #list)))
  end
end

-- The values of many fields of a hash by name, false where there is none.
local function fields_of(name, list)
  local values = {}
  for first = 1, #list, 1000 do
    local last = math.min(first + 999, #list)
    local part = call('HMGET', name, unpack(list, first, last))
    for i = first, last do values[list[i]] = part[i - first + 1] end
  end
  return values
end

-- Add to many fields of a hash, in two commands; with `known_only` to those alone that are there.
local function add_to(name, list, amounts, known_only)
  local held, changed = fields_of(name, list), {}
  for _, field in ipairs(list) do
    if held[field] or not known_only then
      changed[#changed + 1] = field
      changed[#changed + 1] = string.format('%.0f', (tonumber(held[field]) or 0) + amounts[field])
    end
  end
  call_many('HSET', name, changed)
end

local function array_header(n) return struct.pack('>BI4', 0xdd, n) end

local packed_text
do
  local headers = {}   -- by the text's length, as cmsgpack writes them

  -- msgpack of a text, for a fraction of what cmsgpack.pack costs.
  function packed_text(text)
    local header = headers[#text]
    if not header then
      header = string.sub(cmsgpack.pack(text), 1, -#text - 1)
      headers[#text] = header
    end
    return header .. text
  end
end
