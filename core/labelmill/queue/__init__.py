"""The queue in Redis: online lane, scoring jobs, training jobs, aliases, presence.

At-least-once work, exactly-once visible results. Servers use the async classes, workers the sync
ones; the Lua scripts in lua/ make each change one atomic step.
"""
