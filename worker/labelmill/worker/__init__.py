"""The worker: pulls work from Redis, runs engines, trains. `python -m labelmill.worker` is one."""

import os

# ONNX Runtime reports its use to its maker, see its Privacy.md, unless told not to before it is
# imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
