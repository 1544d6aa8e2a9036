-- Pauses or resumes a job.
-- KEYS: job, ring, tenant_ring, bell, events
-- ARGV: id, PAUSE|RESUME
-- Returns {state before, state now}, or {} when the job is gone.
local f = redis.call('HMGET', KEYS[1], 'state', 'tenant', 'started')
if not f[1] then return {} end
local now = f[1]
if ARGV[2] == 'PAUSE' and (f[1] == 'QUEUED' or f[1] == 'RUNNING') then
  now = 'PAUSED'
  redis.call('ZREM', KEYS[3], ARGV[1])
  if redis.call('ZCARD', KEYS[3]) == 0 then redis.call('ZREM', KEYS[2], f[2]) end
elseif ARGV[2] == 'RESUME' and f[1] == 'PAUSED' then
  now = f[3] and 'RUNNING' or 'QUEUED'
  enter(KEYS[2], KEYS[3], f[2], ARGV[1])
  ring_bell(KEYS[4])
end
if now ~= f[1] then
  redis.call('HSET', KEYS[1], 'state', now)
  event(KEYS[5])
end
return {f[1], now}
