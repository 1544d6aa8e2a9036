-- Puts a job under way back into the queue, for another worker to resume.
-- KEYS: training, queue
-- ARGV: id, token
-- Returns 1, or 0 for a lost lease.
local f = redis.call('HMGET', KEYS[1], 'state', 'token', 'entry')
if f[2] ~= ARGV[2] or FINAL[f[1]] then return 0 end
redis.call('XACK', KEYS[2], 'w', f[3])
redis.call('XDEL', KEYS[2], f[3])
redis.call('XADD', KEYS[2], '*', 'j', ARGV[1])
redis.call('HDEL', KEYS[1], 'token', 'entry')
if f[1] == 'RUNNING' then redis.call('HSET', KEYS[1], 'state', 'QUEUED') end
return 1
