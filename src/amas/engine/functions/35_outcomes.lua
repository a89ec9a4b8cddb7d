-- Looking at how tasks ended, many in one call.

-- outcomes: those of a batch that have ended.  caller: TaskQueue.ended.  ARGV: ids
--   returns one msgpack array of [id, state, result, failure]; changes nothing.  cost: O(ids).
local function outcomes(keys, args)
  local parts, n, prefix = {}, 0, keys[1] .. ':t:'
  for _, id in ipairs(cmsgpack.unpack(args[1])) do
    local v = redis.call('HMGET', prefix .. id, 's', 'r', 'e')
    if TERMINAL[v[1] or ''] then
      n = n + 1
      parts[#parts + 1] = '\148' .. packed_text(id) .. packed_text(v[1]) .. (v[2] or NIL) .. (v[3] or NIL)
    end
  end
  return array_header(n) .. table.concat(parts)
end

redis.register_function{function_name = 'amas1_outcomes', callback = outcomes, flags = {'no-writes'}}
