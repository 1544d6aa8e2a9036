-- KEYS: aliases
-- ARGV: alias, version, expected etag ('' for any)
-- Returns 1, or 0 when the etag is another by now.
local etag = redis.call('HGET', KEYS[1], ':etag') or '0'
if ARGV[3] ~= '' and ARGV[3] ~= etag then return 0 end
local before = redis.call('HGET', KEYS[1], ARGV[1])
if before == ARGV[2] then return 1 end
if before then redis.call('HSET', KEYS[1], ':previous:' .. ARGV[1], before) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2], ':etag', etag + 1)
return 1
