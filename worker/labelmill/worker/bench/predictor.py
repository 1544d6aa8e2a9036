"""What a contender is: texts in, labels out. One opener a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labelmill.errors import EngineUnavailableError
from labelmill.registry import Manifest
from labelmill.v1.classification_pb2 import ScoringOptions
from labelmill.worker.bench.job import Job
from labelmill.worker.decide import decide

#: Rows of a batch of those that take texts in file order: what guides and examples use.
FILE_ORDER_ROWS = 32


class Predictor(Protocol):
    """One way to classify with one version."""

    #: Size of the weights it reads.
    file_bytes: int

    #: Share of the padded tokens of the last `predict` that were padding; None where it is not
    #: known.
    padding_waste: float | None

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The label of each text, in order; ``a|b`` for multi-label versions."""
        ...


#: Contender → module with ``open_predictor(name, job)``.
_MODULES = {
    "hf-pipeline-fp32": "huggingface",
    "hf-pipeline-bf16": "huggingface",
    "ort-fp32": "file_order",
    "ort-dynamic-int8": "file_order",
    "onnx-int8": "engine",
    "onnx-fp32": "engine",
    "openvino-int8": "engine",
    "torch-fp32": "engine",
    "torch-bf16": "engine",
}


def open_predictor(name: str, job: Job) -> Predictor:
    """Loads the contender `name`.

    Raises:
        EngineUnavailableError: its library is not installed, or this machine cannot run it.
    """
    module = f"labelmill.worker.bench.{_MODULES[name]}"
    try:
        opener: Callable[[str, Job], Predictor] = import_module(module).open_predictor
        return opener(name, job)
    except ImportError as error:
        raise EngineUnavailableError(
            f"{name} needs {error.name}, which is not installed here; pip install 'labelmill[all]'"
        ) from error


def label_names(logits: NDArray[np.float32], manifest: Manifest) -> list[str]:
    """Labels of logits of shape (rows, labels), UNKNOWN never given to single-label texts."""
    options = ScoringOptions(top_k=1)
    if manifest.problem_type == "single_label":
        options.threshold = 0.0
    return [result.label for result in decide(logits, manifest, options)]
