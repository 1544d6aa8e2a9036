-- KEYS: training, queue
-- ARGV: consumer, token
-- Returns HELD, STALE or STOP.
local f = redis.call('HMGET', KEYS[1], 'state', 'token', 'entry')
if f[2] ~= ARGV[2] or FINAL[f[1]] then return 'STALE' end
redis.call('XCLAIM', KEYS[2], 'w', ARGV[1], 0, f[3], 'JUSTID')
if f[1] == 'CANCELLING' then return 'STOP' end
return 'HELD'
