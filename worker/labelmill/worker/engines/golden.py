"""The self-test: a version's golden texts, re-run on the CPU that is to serve it.

A version records the logits that its engines gave for a few dozen texts when it was exported. An
INT8 file is right only on CPUs that multiply bytes exactly: without VNNI, sums of U8×S8 products
saturate and the answers drift. Owns reading golden.json and judging; `export.golden` writes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelmill.errors import ArtifactCorruptError
from labelmill.registry.manifest import GOLDEN_FILE
from labelmill.worker.engines import batches
from labelmill.worker.engines.base import Engine

#: Drift of an INT8 engine that passes, as a share of what quantization itself did to the logits
#: (rms against rms). Another implementation's rounding measured 0.11, saturation 1.63: see
#: docs/decisions/0008-self-test-by-quantization-noise.md.
INT8_DRIFT = 0.5

#: The same under OpenVINO, whose rounding measured 0.34 to 0.48: it differs from the recorded one
#: in every layer. See docs/decisions/0016-openvino.md.
OPENVINO_DRIFT = 0.9

#: Drift that passes for every engine, as a share of the spread of the recorded logits.
FLOOR_DRIFT = 0.002

#: The same for bf16, which keeps eight bits of each number.
BF16_DRIFT = 0.03


@dataclass(frozen=True)
class SelfTest:
    """How far an engine's golden logits are from the recorded ones."""

    passed: bool
    #: Share of golden texts that got the recorded label, near ties set aside.
    label_agreement: float
    #: Largest difference of a logit.
    max_abs_dlogit: float


@dataclass(frozen=True)
class Golden:
    """Golden texts as token ids, with the logits recorded at export, (texts, labels)."""

    token_ids: list[list[int]]
    fp32_logits: NDArray[np.float32]
    int8_logits: NDArray[np.float32] | None


def read(file: Path) -> Golden:
    """Reads golden.json; raises ArtifactCorruptError."""
    try:
        content = json.loads(file.read_bytes())
        int8 = content["int8_logits"]
        return Golden(
            token_ids=content["token_ids"],
            fp32_logits=np.array(content["fp32_logits"], dtype=np.float32),
            int8_logits=None if int8 is None else np.array(int8, dtype=np.float32),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactCorruptError(
            f"{file} cannot be read ({error}); restore it from a backup or train the model again",
            metadata={"artifact": GOLDEN_FILE},
        ) from error


def self_test(engine: Engine, golden_file: Path) -> SelfTest:
    """Compares `engine` on this machine with what was recorded at export.

    INT8 engines are compared with the INT8 logits, all others with the fp32 ones.

    Raises:
        ArtifactCorruptError: golden.json cannot be read, or has no logits for this engine.
    """
    golden = read(golden_file)
    recorded = golden.int8_logits if engine.name.endswith("-int8") else golden.fp32_logits
    if recorded is None or not len(recorded):
        raise ArtifactCorruptError(
            f"{golden_file} has no logits for {engine.name}; train the model again",
            metadata={"artifact": GOLDEN_FILE},
        )
    logits = batches.run(engine, golden.token_ids)
    if logits.shape != recorded.shape or not np.isfinite(logits).all():
        return SelfTest(passed=False, label_agreement=0.0, max_abs_dlogit=float("inf"))
    allowed = _allowed_rms(engine.name, golden, recorded)
    # Rounding alone may turn a decision this close.
    ranked = np.sort(recorded, axis=1)
    near_tie = ranked[:, -1] - ranked[:, -2] <= 4 * allowed
    same = logits.argmax(axis=1) == recorded.argmax(axis=1)
    agreement = float((same | near_tie).mean())
    passed = _rms(logits - recorded) <= allowed and agreement == 1.0
    return SelfTest(passed, agreement, float(np.abs(logits - recorded).max()))


def _allowed_rms(name: str, golden: Golden, recorded: NDArray[np.float32]) -> float:
    spread = float(np.ptp(recorded))
    if name.endswith("-bf16"):
        return BF16_DRIFT * spread
    if name.endswith("-int8"):
        noise = _rms(recorded - golden.fp32_logits)
        share = OPENVINO_DRIFT if name == "openvino-int8" else INT8_DRIFT
        return max(share * noise, FLOOR_DRIFT * spread)
    return FLOOR_DRIFT * spread


def _rms(differences: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(differences))))
