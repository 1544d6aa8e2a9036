-- Hands the next open chunk of a job to a worker and charges the tenant's virtual time.
-- KEYS: job, chunks, states, ring, tenant_ring, events
-- ARGV: id, tenant, consumer, token
-- Returns {chunk, texts, errors, losses} or {} when the job has no open chunk now.
local f = redis.call('HMGET', KEYS[1], 'state', 'weight')
local reply = nil
if f[1] == 'QUEUED' or f[1] == 'RUNNING' then
  reply = redis.call('XREADGROUP', 'GROUP', 'w', ARGV[3], 'COUNT', 1, 'STREAMS', KEYS[2], '>')
end
if not reply then
  redis.call('ZREM', KEYS[5], ARGV[1])
  if redis.call('ZCARD', KEYS[5]) == 0 then redis.call('ZREM', KEYS[4], ARGV[2]) end
  return {}
end
local entry = reply[1][2][1]
local chunk = entry[2][2]
local c = parse(redis.call('HGET', KEYS[3], chunk))
c.state, c.token, c.entry = 'L', ARGV[4], entry[1]
redis.call('HSET', KEYS[3], chunk, line(c))
redis.call('HINCRBY', KEYS[1], 'leased', 1)
if c.errors + c.losses > 0 then redis.call('HINCRBY', KEYS[1], 'retried', 1) end
if f[1] == 'QUEUED' then
  redis.call('HSET', KEYS[1], 'state', 'RUNNING', 'started', now_ms())
  event(KEYS[6])
end
local cost = c.texts / tonumber(f[2])
redis.call('ZINCRBY', KEYS[5], cost, ARGV[1])
redis.call('ZINCRBY', KEYS[4], cost, ARGV[2])
return {chunk, c.texts, c.errors, c.losses}
