-- Closes a job for uploads. Repeating it changes nothing.
-- KEYS: job, chunks, active, expire, ring, tenant_ring, usage, sweep, events
-- ARGV: id
-- Returns the job's state, or nil when it is gone.
local state = redis.call('HGET', KEYS[1], 'state')
if not state or FINAL[state] then return state end
redis.call('HSET', KEYS[1], 'sealed', 1)
state = settle({job = KEYS[1], chunks = KEYS[2], active = KEYS[3], expire = KEYS[4],
  ring = KEYS[5], tenant_ring = KEYS[6], usage = KEYS[7], sweep = KEYS[8]}, ARGV[1], now_ms())
event(KEYS[9])
return state
