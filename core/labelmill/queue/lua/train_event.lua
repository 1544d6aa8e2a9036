-- Adds the next event of a run; with a final state, ends the job too.
-- KEYS: training, events, queue, input
-- ARGV: token ('' from the server), stage, progress, event, final state or '', field, value, ...
-- Returns the event's sequence number, or 0 for a lost lease.
local f = redis.call('HMGET', KEYS[1], 'state', 'token', 'entry')
if not f[1] or FINAL[f[1]] then return 0 end
if ARGV[1] ~= '' and f[2] ~= ARGV[1] then return 0 end
local sequence = redis.call('HINCRBY', KEYS[1], 'sequence', 1)
redis.call('HSET', KEYS[1], 'stage', ARGV[2], 'progress', ARGV[3])
local now, state = now_ms(), f[1]
if ARGV[5] ~= '' then
  state = ARGV[5]
  redis.call('HSET', KEYS[1], 'state', state, 'ended', now)
  redis.call('UNLINK', KEYS[4])
  if f[3] then
    redis.call('XACK', KEYS[3], 'w', f[3])
    redis.call('XDEL', KEYS[3], f[3])
  end
end
if #ARGV > 5 then redis.call('HSET', KEYS[1], unpack(ARGV, 6)) end
redis.call('XADD', KEYS[2], sequence .. '-0', 'e', ARGV[4], 't', now, 's', state)
return sequence
