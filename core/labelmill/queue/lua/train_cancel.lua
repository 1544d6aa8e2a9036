-- KEYS: training
-- Returns {state before, state now}, or {} when the job is gone. A queued job is left to the
-- caller, who ends it with an event.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {} end
if state == 'RUNNING' then
  redis.call('HSET', KEYS[1], 'state', 'CANCELLING')
  return {state, 'CANCELLING'}
end
return {state, state}
