"""What the CPU offers this process: usable cores and instruction sets. Linux."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

from labelmill.worker.cgroup import cpu_quota

#: Instruction sets that decide how INT8 and bf16 behave, as /proc/cpuinfo names them.
_NOTABLE = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")


def usable_cores() -> int:
    """Cores this process may keep busy: CPU affinity, bounded by the cgroup quota, at least 1.

    Half a core counts as one: two threads on a quota of 1.5 score 44% more than one, at the price
    of stalls when it is used up. Below, stalls are all they bring: see docs/performance.md.
    """
    cores = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return max(1, min(cores, math.floor(quota + 0.5)) if quota else cores)


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def instruction_sets() -> list[str]:
    """Notable instruction sets of this CPU, e.g. ``avx512_vnni``."""
    flags = set(_cpuinfo("flags").split())
    return [name for name in _NOTABLE if name in flags]


def has_vnni() -> bool:
    """Whether U8×S8 products are exact: VNNI in any width, or AMX."""
    return bool({"avx_vnni", "avx512_vnni", "amx_int8"} & set(instruction_sets()))


def has_bf16() -> bool:
    """Whether bf16 products run in hardware."""
    return bool({"avx512_bf16", "amx_bf16"} & set(instruction_sets()))


def cpu_name() -> str:
    """The CPU's model name."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()
