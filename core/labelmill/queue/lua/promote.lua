-- Opens a waiting chunk again.
-- KEYS: job, chunks, states, delayed, ring, tenant_ring, bell
-- ARGV: id, chunk
if redis.call('ZREM', KEYS[4], ARGV[1] .. ' ' .. ARGV[2]) == 0 then return 0 end
local held = redis.call('HGET', KEYS[3], ARGV[2])
if not held then return 0 end
local c = parse(held)
local f = redis.call('HMGET', KEYS[1], 'state', 'tenant')
if c.state ~= 'W' or not f[1] or FINAL[f[1]] then return 0 end
c.state = 'O'
redis.call('HSET', KEYS[3], ARGV[2], line(c))
redis.call('XADD', KEYS[2], '*', 'c', ARGV[2])
if f[1] == 'QUEUED' or f[1] == 'RUNNING' then
  enter(KEYS[5], KEYS[6], f[2], ARGV[1])
  ring_bell(KEYS[7])
end
return 1
