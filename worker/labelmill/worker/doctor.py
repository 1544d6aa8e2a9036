"""`python -m labelmill.worker.doctor`: what this machine can do and what is wrong with it.

Prints one JSON document: ``{"checks": [{"name", "status", "detail", "remedy"}]}`` with the status
``ok``, ``warn`` or ``fail``. Nothing is changed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from redis.exceptions import RedisError

from labelmill.errors import LabelmillError, QueueUnfitError
from labelmill.queue.connection import (
    check_fitness,
    connect,
    connect_async,
    policy_of,
    redacted,
)
from labelmill.queue.keys import Keys
from labelmill.queue.presence import WorkerInfo, living
from labelmill.registry import Manifest, Registry
from labelmill.registry.manifest import GOLDEN_FILE
from labelmill.worker import cpu
from labelmill.worker.bench.host import libraries
from labelmill.worker.engines.base import missing_library, open_engine
from labelmill.worker.engines.golden import self_test

#: Share of Redis maxmemory from which new texts are refused; see ServerSettings.memory_fraction.
_FULL = 0.7

_GIB = 1 << 30


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    #: What to do about it; empty when all is well.
    remedy: str = ""


def machine() -> Iterator[Check]:
    """CPU, cores, memory, libraries and the engines they allow."""
    sets = ", ".join(cpu.instruction_sets()) or "none that matter"
    if cpu.has_vnni():
        yield Check("cpu", "ok", f"{cpu.cpu_name()}: {sets}")
    else:
        yield Check(
            "cpu",
            "warn",
            f"{cpu.cpu_name()}: {sets}; no VNNI",
            "INT8 is slower here and must pass its self-test; for speed use a CPU with AVX512_VNNI "
            "or AVX_VNNI",
        )
    usable, all_cores = cpu.usable_cores(), os.cpu_count() or 1
    yield Check("cores", "ok", f"{usable} usable of {all_cores} (affinity and cgroup quota)")
    memory = psutil.virtual_memory()
    available, total = memory.available / _GIB, memory.total / _GIB
    detail = f"{available:.1f} of {total:.1f} GiB available"
    if available < 1:
        yield Check("memory", "warn", detail, "a model takes up to 1 GiB to train; free some")
    else:
        yield Check("memory", "ok", detail)
    versions = ", ".join(f"{name} {version}" for name, version in libraries().items())
    yield Check("libraries", "ok", versions)
    yield Check("engines", "ok", ", ".join(_engines()))


def _engines() -> list[str]:
    names = ["onnx-int8", "onnx-fp32"]
    if not missing_library("torch"):
        names += ["torch-fp32", *(["torch-bf16"] if cpu.has_bf16() else [])]
    if not missing_library("openvino"):
        names.append("openvino-int8")
    return names


def queue(redis_url: str) -> Iterator[Check]:
    """Redis or Valkey: reachable, fit, durable, with room; and the workers it knows."""
    try:
        with connect(redis_url) as client:
            info: Any = client.info()
    except RedisError as error:
        yield Check(
            "redis",
            "fail",
            f"{redacted(redis_url)} does not answer ({error})",
            "start it, or run `labelmill up`, which brings one of its own",
        )
        return
    kind = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version", info["redis_version"])
    try:
        check_fitness(info, policy_of(info))
    except QueueUnfitError as error:
        yield Check("redis", "fail", f"{kind} {version}", error.message)
    else:
        yield Check("redis", "ok", f"{kind} {version}, {policy_of(info)}")
    if info.get("aof_enabled"):
        yield Check("durability", "ok", "append-only file is on")
    else:
        yield Check(
            "durability",
            "warn",
            "no append-only file: accepted work is lost when Redis ends",
            "CONFIG SET appendonly yes, and put it into redis.conf",
        )
    yield _room(info)
    yield from _workers(redis_url)


def _room(info: dict[str, Any]) -> Check:
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if not most:
        return Check("redis memory", "ok", f"{used / _GIB:.2f} GiB used, no maxmemory")
    share = used / most
    detail = f"{used / _GIB:.2f} of {most / _GIB:.2f} GiB used"
    if share > _FULL:
        return Check(
            "redis memory",
            "warn",
            f"{detail}: new texts are refused above {_FULL:.0%}",
            "wait for jobs to finish, delete old ones, or raise maxmemory",
        )
    return Check("redis memory", "ok", detail)


def _workers(redis_url: str) -> Iterator[Check]:
    workers = asyncio.run(_living(redis_url))
    if not workers:
        yield Check("workers", "fail", "none lives", "start one with `labelmill worker`")
        return
    for worker in workers:
        detail = f"{', '.join(worker.engines)}; {worker.threads} threads"
        if worker.loaded:
            detail += f"; loaded: {', '.join(worker.loaded)}"
        if worker.padding_waste is not None:
            detail += f"; {worker.padding_waste:.1%} of what it computed was padding"
        yield Check(f"worker {worker.name}", "ok", detail)
        for warning in worker.warnings:
            yield Check(f"worker {worker.name}", "warn", warning, "train the model on this CPU")


async def _living(redis_url: str) -> list[WorkerInfo]:
    async with connect_async(redis_url) as client:
        return await living(client, Keys())


def models(registry: Registry) -> Iterator[Check]:
    """Every version: checksums of all files, and the INT8 self-test on this CPU."""
    names = registry.models()
    if not names:
        yield Check("models", "ok", f"none yet in {registry.root}")
    for name in names:
        for version in registry.versions(name):
            yield from _version(registry, name, version)


def _version(registry: Registry, name: str, version: int) -> Iterator[Check]:
    label = f"model {name}@{version}"
    try:
        manifest = registry.verify(name, version)
        tested = _self_test(registry, manifest)
    except LabelmillError as error:
        yield Check(label, "fail", error.message, "restore the file or train the model again")
        return
    passed, detail = tested
    files = f"{len(manifest.artifacts)} files match their checksums"
    if passed:
        yield Check(label, "ok", f"{files}; {detail}")
    else:
        yield Check(
            label,
            "warn",
            f"{files}; {detail}",
            "the fp32 file serves instead; train the model again on a CPU like this one",
        )


def _self_test(registry: Registry, manifest: Manifest) -> tuple[bool, str]:
    engine_name = manifest.engines[0]
    folder = registry.path(manifest.model, manifest.version)
    engine = open_engine(folder, manifest, engine_name)
    try:
        result = self_test(engine, folder / GOLDEN_FILE)
    finally:
        engine.close()
    verdict = "passed" if result.passed else "failed"
    return result.passed, (
        f"{engine_name} {verdict} its self-test (label agreement {result.label_agreement:.1%}, "
        f"largest logit difference {result.max_abs_dlogit:.2g})"
    )


def main() -> int:
    """Returns the exit code: 1 when a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--redis-url", help="left out: Redis and workers are not looked at")
    arguments = parser.parse_args()
    checks = list(machine())
    try:
        if arguments.redis_url:
            checks += queue(arguments.redis_url)
        checks += models(Registry(arguments.registry))
    except LabelmillError as error:
        checks.append(Check("settings", "fail", error.message, "correct it"))
    sys.stdout.write(json.dumps({"checks": [asdict(check) for check in checks]}) + "\n")
    return 1 if any(check.status == "fail" for check in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
