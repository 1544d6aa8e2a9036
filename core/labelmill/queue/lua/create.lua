-- KEYS: job, request, jobs, active
-- ARGV: id, digest, request ttl ms (0: no request id), field, value, ...
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
redis.call('HSET', KEYS[1], 'state', 'QUEUED', 'created', now, 'total', 0, 'chunks', 0, 'done', 0,
  'leased', 0, 'succeeded', 0, 'failed', 0, 'tokens', 0, 'retried', 0, 'sealed', 0,
  unpack(ARGV, 4))
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('SADD', KEYS[4], ARGV[1])
return ARGV[1]
