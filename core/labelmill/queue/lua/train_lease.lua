-- Starts a run of a queued job, or of one whose lease was lost.
-- KEYS: training, queue
-- ARGV: consumer, entry, token
-- Returns {attempt} or {} when the job needs no run.
local state = redis.call('HGET', KEYS[1], 'state')
if not state or FINAL[state] then
  redis.call('XACK', KEYS[2], 'w', ARGV[2])
  redis.call('XDEL', KEYS[2], ARGV[2])
  return {}
end
if state == 'QUEUED' then state = 'RUNNING' end
redis.call('HSET', KEYS[1], 'state', state, 'token', ARGV[3], 'entry', ARGV[2])
redis.call('HSETNX', KEYS[1], 'started', now_ms())
return {redis.call('HINCRBY', KEYS[1], 'attempt', 1)}
