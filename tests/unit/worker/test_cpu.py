from __future__ import annotations

import os
import subprocess
import sys

import pytest

from labelmill.worker import cpu


def in_child(code: str, environment: dict[str, str] | None = None) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, env=environment
    ).stdout.split()


def test_a_process_kept_on_one_core_uses_one() -> None:
    core = min(os.sched_getaffinity(0))
    code = f"""
import os
os.sched_setaffinity(0, [{core}])
from labelmill.worker.cpu import usable_cores
print(usable_cores())
"""
    assert in_child(code) == ["1"]


@pytest.mark.parametrize(
    ("quota", "cores"),
    [(None, 8), (0.2, 1), (1.0, 1), (1.49, 1), (1.5, 2), (2.9, 3), (4.0, 4), (7.6, 8), (64.0, 8)],
)
def test_a_quota_bounds_the_cores(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(cpu, "cpu_quota", lambda: quota)
    assert cpu.usable_cores() == cores


def test_the_engines_library_starts_no_thread_that_reports_its_use() -> None:
    code = """
import os
import labelmill.worker.engines.onnx
print(len(os.listdir("/proc/self/task")), os.environ["ORT_DISABLE_TELEMETRY"])
"""
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    assert in_child(code, environment | {"OPENBLAS_NUM_THREADS": "1"}) == ["1", "1"]
