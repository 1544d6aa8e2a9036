-- Makes a chunk's results visible, once: only the token that holds the lease may.
-- KEYS: job, chunks, states, input, output, item_errors, active, expire, ring, tenant_ring, usage, events, sweep
-- ARGV: id, chunk, token, payload, failed, tokens, reason, texts, reason, texts, ...
-- Returns COMMITTED or STALE.
local held = redis.call('HGET', KEYS[3], ARGV[2])
if not held then return 'STALE' end
local c = parse(held)
if c.state ~= 'L' or c.token ~= ARGV[3] then return 'STALE' end
local failed = tonumber(ARGV[5])
redis.call('DEL', KEYS[4])
redis.call('XACK', KEYS[2], 'w', c.entry)
redis.call('XDEL', KEYS[2], c.entry)
redis.call('SET', KEYS[5], ARGV[4])
c.state, c.token, c.entry = 'D', '', ''
redis.call('HSET', KEYS[3], ARGV[2], line(c))
redis.call('HINCRBY', KEYS[1], 'leased', -1)
redis.call('HINCRBY', KEYS[1], 'done', 1)
redis.call('HINCRBY', KEYS[1], 'succeeded', c.texts - failed)
redis.call('HINCRBY', KEYS[1], 'failed', failed)
redis.call('HINCRBY', KEYS[1], 'tokens', ARGV[6])
redis.call('HINCRBY', KEYS[11], 'texts', -c.texts)
for i = 7, #ARGV, 2 do redis.call('HINCRBY', KEYS[6], ARGV[i], ARGV[i + 1]) end
settle({job = KEYS[1], chunks = KEYS[2], active = KEYS[7], expire = KEYS[8], ring = KEYS[9],
  tenant_ring = KEYS[10], usage = KEYS[11], sweep = KEYS[13]}, ARGV[1], now_ms())
event(KEYS[12])
return 'COMMITTED'
