-- Prepended to every script. Times are Redis's own, in ms, so that no worker's clock matters.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- A chunk's state line: state:texts:errors:losses:token:entry
--   O open   L leased   D done   W waiting for its retry time
local function parse(line)
  local state, texts, errors, losses, token, entry =
    string.match(line, '^(%u):(%d+):(%d+):(%d+):([^:]*):([^:]*)$')
  return {
    state = state, texts = tonumber(texts), errors = tonumber(errors),
    losses = tonumber(losses), token = token, entry = entry,
  }
end

local function line(c)
  return table.concat({c.state, c.texts, c.errors, c.losses, c.token or '', c.entry or ''}, ':')
end

local FINAL = {SUCCEEDED = true, PARTIALLY_SUCCEEDED = true, FAILED = true, CANCELLED = true, EXPIRED = true}

local function event(events_key)
  redis.call('XADD', events_key, 'MAXLEN', '~', 64, '*', 'c', '1')
end

-- Ends a job that has nothing left to do, and returns its state.
-- k: job, chunks, active, expire, ring, tenant_ring, usage, sweep
local function settle(k, id, now)
  local f = redis.call('HMGET', k.job, 'state', 'leased', 'sealed', 'done', 'chunks', 'failed',
    'total', 'max_failed', 'retention_ms', 'stop_as', 'succeeded', 'tenant')
  local state = f[1]
  if not state or FINAL[state] then return state end
  local final = nil
  if state == 'CANCELLING' then
    if tonumber(f[2]) == 0 then final = f[10] end
  elseif f[3] == '1' and f[4] == f[5] then
    local failed, total = tonumber(f[6]), tonumber(f[7])
    if failed == 0 then final = 'SUCCEEDED'
    elseif failed > total * tonumber(f[8]) then
      final = 'FAILED'
      redis.call('HSET', k.job, 'error_reason', 'TOO_MANY_FAILED', 'error_message',
        failed .. ' of ' .. total .. ' texts failed, more than max_failed_fraction ' .. f[8])
    else final = 'PARTIALLY_SUCCEEDED' end
  end
  if not final then return state end
  local waiting = tonumber(f[7]) - tonumber(f[11]) - tonumber(f[6])
  if waiting > 0 then redis.call('HINCRBY', k.usage, 'texts', -waiting) end
  redis.call('HSET', k.job, 'state', final, 'ended', now, 'expire', now + tonumber(f[9]))
  redis.call('SREM', k.active, id)
  redis.call('ZADD', k.expire, now + tonumber(f[9]), id)
  redis.call('ZREM', k.tenant_ring, id)
  if redis.call('ZCARD', k.tenant_ring) == 0 then redis.call('ZREM', k.ring, f[12]) end
  redis.call('DEL', k.chunks)
  if state == 'CANCELLING' then redis.call('SADD', k.sweep, id) end
  return final
end

-- Makes a job with open chunks visible to lease, no earlier in virtual time than its rivals.
local function enter(ring, tenant_ring, tenant, id)
  local function join(key, member)
    if not redis.call('ZSCORE', key, member) then
      local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
      redis.call('ZADD', key, first[2] or 0, member)
    end
  end
  join(tenant_ring, id)
  join(ring, tenant)
end

local function ring_bell(bell)
  redis.call('LPUSH', bell, '1')
  redis.call('LTRIM', bell, 0, 31)
end
