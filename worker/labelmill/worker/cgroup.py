"""The CPU quota of the control groups around this process: cgroup v1, v2, or both. Linux."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

#: Period of a quota where its file gives none, in µs.
_PERIOD_US = 100_000


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of CPU time that the tightest enclosing control group grants.

    Args:
        root: where ``proc`` and ``sys`` are; another folder only in tests.

    Returns:
        E.g. 1.5 for 150 ms of CPU time in each period of 100 ms; None without any quota.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    return min(_quotas(root, memberships, mounts), default=None)


def _quotas(root: Path, memberships: list[str], mounts: list[str]) -> Iterator[float]:
    """Quotas of this process's groups and of all that enclose them, as far as they are mounted."""
    for line in mounts:
        # proc_pid_mountinfo(5): … root mount-point options … - type source super-options
        before, _, after = line.partition(" - ")
        mounted, mount_point = map(_unescaped, before.split()[3:5])
        kind, _, options = after.split()[:3]
        if kind == "cgroup2":
            group, read = _group(memberships, ""), _read_v2
        elif kind == "cgroup" and "cpu" in options.split(","):
            group, read = _group(memberships, "cpu"), _read_v1
        else:
            continue
        for level in _levels(group, mounted):
            quota = read(root / mount_point.lstrip("/") / level)
            if quota is not None:
                yield quota


def _group(memberships: list[str], controller: str) -> PurePosixPath:
    """This process's group in the hierarchy of `controller`, which is empty for v2."""
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return PurePosixPath(path)
    return PurePosixPath("/")


def _levels(group: PurePosixPath, mounted: str) -> list[PurePosixPath]:
    """`group` and those that enclose it, below the mount point.

    Containers often have only their own group, mounted where the top would be.
    """
    if not group.is_relative_to(mounted) or ".." in group.parts:
        return [PurePosixPath()]
    inside = group.relative_to(mounted)
    return [inside, *inside.parents]


def _unescaped(path: str) -> str:
    """A path as it is; mountinfo writes blanks and the like in octal."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _read_v2(folder: Path) -> float | None:
    limit, *period = _words(folder / "cpu.max") or ["max"]
    return None if limit == "max" else int(limit) / int(period[0] if period else _PERIOD_US)


def _read_v1(folder: Path) -> float | None:
    quota = int(*_words(folder / "cpu.cfs_quota_us") or ["-1"])
    period = int(*_words(folder / "cpu.cfs_period_us") or [str(_PERIOD_US)])
    return quota / period if quota > 0 else None


def _words(file: Path) -> list[str]:
    """What a file says; nothing where there is none, as at the top of each hierarchy."""
    try:
        return file.read_text().split()
    except OSError:
        return []
