-- Keeps a lease alive: resets the entry's idle time, only for the token that holds it.
-- KEYS: job, chunks, states
-- ARGV: consumer, chunk, token
-- Returns HELD, STALE, or STOP when the job no longer wants the chunk.
local held = redis.call('HGET', KEYS[3], ARGV[2])
if not held then return 'STALE' end
local c = parse(held)
if c.state ~= 'L' or c.token ~= ARGV[3] then return 'STALE' end
redis.call('XCLAIM', KEYS[2], 'w', ARGV[1], 0, c.entry, 'JUSTID')
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'RUNNING' and state ~= 'PAUSED' then return 'STOP' end
return 'HELD'
