-- Takes a lease back: given up by its holder (with its token), or lost (after idle ms).
-- KEYS: job, chunks, states, delayed, ring, tenant_ring, active, expire, usage, bell, events, sweep
-- ARGV: id, chunk, token, RETURNED|ERROR|LOST, delay ms, least idle ms
-- Returns RELEASED or STALE.
local held = redis.call('HGET', KEYS[3], ARGV[2])
if not held then return 'STALE' end
local c = parse(held)
if c.state ~= 'L' or c.token ~= ARGV[3] then return 'STALE' end
if ARGV[4] == 'LOST' then
  local pending = redis.call('XPENDING', KEYS[2], 'w', c.entry, c.entry, 1)
  if pending[1] and pending[1][3] < tonumber(ARGV[6]) then return 'STALE' end
  c.losses = c.losses + 1
elseif ARGV[4] == 'ERROR' then
  c.errors = c.errors + 1
end
redis.call('XACK', KEYS[2], 'w', c.entry)
redis.call('XDEL', KEYS[2], c.entry)
redis.call('HINCRBY', KEYS[1], 'leased', -1)
local now, delay = now_ms(), tonumber(ARGV[5])
local f = redis.call('HMGET', KEYS[1], 'state', 'tenant')
if delay > 0 then
  c.state, c.token, c.entry = 'W', '', ''
  redis.call('ZADD', KEYS[4], now + delay, ARGV[1] .. ' ' .. ARGV[2])
else
  c.state, c.token, c.entry = 'O', '', ''
  redis.call('XADD', KEYS[2], '*', 'c', ARGV[2])
  if f[1] == 'QUEUED' or f[1] == 'RUNNING' then
    enter(KEYS[5], KEYS[6], f[2], ARGV[1])
    ring_bell(KEYS[10])
  end
end
redis.call('HSET', KEYS[3], ARGV[2], line(c))
settle({job = KEYS[1], chunks = KEYS[2], active = KEYS[7], expire = KEYS[8], ring = KEYS[5],
  tenant_ring = KEYS[6], usage = KEYS[9], sweep = KEYS[12]}, ARGV[1], now)
event(KEYS[11])
return 'RELEASED'
