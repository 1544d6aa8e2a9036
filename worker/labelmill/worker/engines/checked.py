"""Opens an engine and has it prove itself; INT8 that fails gives way to fp32."""

from __future__ import annotations

import logging
from pathlib import Path

from labelmill.errors import EngineUnavailableError
from labelmill.registry import Manifest
from labelmill.registry.manifest import GOLDEN_FILE
from labelmill.worker import cpu
from labelmill.worker.engines.base import Engine, open_engine
from labelmill.worker.engines.golden import SelfTest, self_test

log = logging.getLogger(__name__)

#: What serves instead of an INT8 engine that this CPU gets wrong.
_FALLBACK = {"onnx-int8": "onnx-fp32", "openvino-int8": "onnx-fp32"}


def open_checked(
    folder: Path, manifest: Manifest, name: str, threads: int = 1
) -> tuple[Engine, SelfTest]:
    """Opens the concrete engine `name` on a version and runs its self-test.

    Args:
        folder: the version's folder, its checksums verified by the caller.
        manifest: the version's manifest.
        name: concrete name, e.g. ``onnx-int8``.
        threads: threads that call `infer` at once.

    Returns:
        The engine, whose `name` is the fallback's where INT8 failed, and its self-test.

    Raises:
        EngineUnavailableError: the version has no such engine, this machine cannot run it, or
            the last one to fall back on fails its self-test too.
        ArtifactCorruptError: a file is missing or unreadable.
    """
    engine = open_engine(folder, manifest, name, threads=threads)
    result = self_test(engine, folder / GOLDEN_FILE)
    if result.passed:
        return engine, result
    engine.close()
    verdict = (
        f"{name} of {manifest.model}@{manifest.version} fails its self-test on this CPU "
        f"({cpu.cpu_name()}: {', '.join(cpu.instruction_sets()) or 'no notable instructions'}): "
        f"label agreement {result.label_agreement:.1%}, logits off by {result.max_abs_dlogit:.3g}"
    )
    fallback = _FALLBACK.get(name)
    if fallback not in manifest.engines:
        raise EngineUnavailableError(f"{verdict}; verify its files or train the model again")
    log.warning("%s; serving %s instead", verdict, fallback)
    return open_checked(folder, manifest, fallback, threads)
