-- KEYS: training, request, trainings, queue, input
-- ARGV: id, digest, request ttl ms (0: no request id), input ('' for none), field, value, ...
-- Returns the id of the job that now answers to the request, or REUSED.
if redis.call('EXISTS', KEYS[1]) == 1 then return ARGV[1] end
if tonumber(ARGV[3]) > 0 then
  local made = redis.call('GET', KEYS[2])
  if made then
    local id, digest = string.match(made, '^(%S+) (%S+)$')
    if digest ~= ARGV[2] then return 'REUSED' end
    return id
  end
  redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
end
local now = now_ms()
if ARGV[4] ~= '' then redis.call('SET', KEYS[5], ARGV[4]) end
redis.call('HSET', KEYS[1], 'state', 'QUEUED', 'created', now, 'attempt', 0, 'sequence', 0,
  'progress', 0, unpack(ARGV, 5))
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('XADD', KEYS[4], '*', 'j', ARGV[1])
return ARGV[1]
