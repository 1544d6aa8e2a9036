-- Stops a job: no further lease, leased chunks stop at their next beat.
-- KEYS: job, chunks, active, expire, ring, tenant_ring, usage, events, sweep
-- ARGV: id, CANCELLED|EXPIRED|FAILED, error reason or '', error message
-- Returns {state before, state now}, or {} when the job is gone.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {} end
if FINAL[state] or state == 'CANCELLING' then return {state, state} end
redis.call('HSET', KEYS[1], 'state', 'CANCELLING', 'stop_as', ARGV[2])
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'error_reason', ARGV[3], 'error_message', ARGV[4])
end
redis.call('ZREM', KEYS[6], ARGV[1])
if redis.call('ZCARD', KEYS[6]) == 0 then
  redis.call('ZREM', KEYS[5], redis.call('HGET', KEYS[1], 'tenant'))
end
local now = settle({job = KEYS[1], chunks = KEYS[2], active = KEYS[3], expire = KEYS[4],
  ring = KEYS[5], tenant_ring = KEYS[6], usage = KEYS[7], sweep = KEYS[9]}, ARGV[1], now_ms())
event(KEYS[8])
return {state, now}
