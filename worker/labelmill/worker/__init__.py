"""The worker: pulls work from Redis, runs engines, trains. `python -m labelmill.worker` is one."""
