-- Adds one chunk of texts at the end of a job. Repeating it changes nothing.
-- KEYS: job, chunks, states, input, ring, tenant_ring, usage, bell, events
-- ARGV: id, offset, texts, payload, tenant texts at most
-- Returns {OK|HELD|GAP|SEALED|OVER|GONE|state, texts the job now holds}
local f = redis.call('HMGET', KEYS[1], 'state', 'sealed', 'total', 'tenant')
if not f[1] then return {'GONE', 0} end
local offset, texts, total = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(f[3])
if offset + texts <= total then return {'HELD', total} end
if FINAL[f[1]] or f[1] == 'CANCELLING' then return {f[1], total} end
if f[2] == '1' then return {'SEALED', total} end
if offset ~= total then return {'GAP', total} end
if tonumber(redis.call('HGET', KEYS[7], 'texts') or 0) + texts > tonumber(ARGV[5]) then
  return {'OVER', total}
end
redis.call('SET', KEYS[4], ARGV[4])
redis.call('HSET', KEYS[3], offset, line({state = 'O', texts = texts, errors = 0, losses = 0}))
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('XGROUP', 'CREATE', KEYS[2], 'w', '0', 'MKSTREAM')
end
redis.call('XADD', KEYS[2], '*', 'c', offset)
redis.call('HINCRBY', KEYS[1], 'total', texts)
redis.call('HINCRBY', KEYS[1], 'chunks', 1)
redis.call('HINCRBY', KEYS[7], 'texts', texts)
if f[1] ~= 'PAUSED' then
  enter(KEYS[5], KEYS[6], f[4], ARGV[1])
  ring_bell(KEYS[8])
end
event(KEYS[9])
return {'OK', total + texts}
