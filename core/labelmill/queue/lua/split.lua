-- Bisects a leased chunk into two open ones, to find the text that breaks it. A chunk is named by
-- the index of its first text, so the first half keeps the name.
-- KEYS: job, chunks, states, input, second input, ring, tenant_ring, bell, events
-- ARGV: id, chunk, token, texts of the first half, payload, second chunk, payload, errors, losses
-- Returns SPLIT or STALE.
local held = redis.call('HGET', KEYS[3], ARGV[2])
if not held then return 'STALE' end
local c = parse(held)
if c.state ~= 'L' or c.token ~= ARGV[3] then return 'STALE' end
redis.call('XACK', KEYS[2], 'w', c.entry)
redis.call('XDEL', KEYS[2], c.entry)
local first = tonumber(ARGV[4])
local half = {state = 'O', errors = ARGV[8], losses = ARGV[9]}
half.texts = first
redis.call('HSET', KEYS[3], ARGV[2], line(half))
half.texts = c.texts - first
redis.call('HSET', KEYS[3], ARGV[6], line(half))
redis.call('SET', KEYS[4], ARGV[5])
redis.call('SET', KEYS[5], ARGV[7])
redis.call('XADD', KEYS[2], '*', 'c', ARGV[2])
redis.call('XADD', KEYS[2], '*', 'c', ARGV[6])
redis.call('HINCRBY', KEYS[1], 'leased', -1)
redis.call('HINCRBY', KEYS[1], 'chunks', 1)
local f = redis.call('HMGET', KEYS[1], 'state', 'tenant')
if f[1] == 'RUNNING' then
  enter(KEYS[6], KEYS[7], f[2], ARGV[1])
  ring_bell(KEYS[8])
end
event(KEYS[9])
return 'SPLIT'
