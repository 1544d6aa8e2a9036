"""What export is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelmill.registry import Gate
from labelmill.worker.export.decisions import ProblemType

#: ``notify(stage, message)``; stages are export, quantize and gates.
Notify = Callable[[str, str], None]


@dataclass(frozen=True)
class ExportRequest:
    """A classification checkpoint and the texts to quantize and prove it with."""

    #: Hugging Face directory: config.json, model.safetensors, tokenizer.json.
    checkpoint: Path
    #: Staging folder of the registry, to fill.
    folder: Path
    #: In the order of the logits.
    labels: Sequence[str]
    problem_type: ProblemType
    #: Tokens a text, special tokens included.
    max_length: int
    #: Training texts, or others like those to classify.
    calibration_texts: Sequence[str]
    #: Validation and test texts, with training texts where those are fewer than 1,000.
    gate_texts: Sequence[str]
    #: int64 (texts,) for single-label, bool (texts, labels) for multi-label; None when nobody
    #: knows the right labels.
    gate_targets: NDArray[Any] | None
    #: Where the gate texts come from, in words, for the report.
    gate_source: str
    #: Which of the gate texts are the test split.
    test_rows: slice


@dataclass(frozen=True)
class ExportResult:
    """What was published, and what it had to prove."""

    #: Concrete engines, the default first; onnx-int8 only when its gates passed.
    engines: list[str]
    #: Recipe of the published INT8, and the instruction sets it was checked on.
    int8: dict[str, Any] | None
    #: ``fp32.*`` then ``int8.*``, the latter also when they failed.
    gates: list[Gate]
    #: Of the gate texts, (texts, labels).
    torch_logits: NDArray[np.float32]
    fp32_logits: NDArray[np.float32]
    #: None when INT8 was not published.
    int8_logits: NDArray[np.float32] | None
    #: For the report: sizes, seconds by step, quantiles of the differences between logits.
    details: dict[str, Any]
