"""The protocol every engine keeps, and how one is opened. Adding an engine is adding one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labelmill.errors import EngineUnavailableError
from labelmill.names import engine_family
from labelmill.registry import Manifest

#: Most padded tokens of a batch on a CPU. Activations of 256 to 1,024 tokens stay in a core's L2
#: cache; bigger batches are 10 to 30% slower a token.
CPU_BATCH_TOKENS = 512


class Engine(Protocol):
    """Turns token ids into logits. Safe to call from several threads at once."""

    #: Concrete name, e.g. ``onnx-int8``.
    name: str

    #: Most padded tokens of a batch, rows times the longest row: more would be slower a token,
    #: or not fit the memory.
    max_batch_tokens: int

    def infer(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits of a batch.

        Args:
            token_ids: one row a text, special tokens included, of at most the version's
                max_length tokens; rows may differ in length and are padded here.

        Returns:
            float32 logits of shape (rows, labels).
        """
        ...

    def close(self) -> None:
        """Frees the model."""
        ...


#: ``open_engine(folder of the version, its manifest, concrete name, threads)`` of each module.
Opener = Callable[[Path, Manifest, str, int], Engine]

#: Engine family → module that defines ``open_engine``.
_MODULES = {
    "onnx": "labelmill.worker.engines.onnx",
    "torch": "labelmill.worker.engines.torch",
    "openvino": "labelmill.worker.engines.openvino",
}

#: Engine family → libraries it needs, and the extra of the package that brings them.
_LIBRARIES = {
    "onnx": (("onnxruntime",), "worker"),
    "torch": (("torch", "transformers"), "gpu"),
    "openvino": (("openvino",), "openvino"),
}


def missing_library(family: str) -> str | None:
    """Why no engine of `family` can be opened here, with the remedy; None when all is there."""
    libraries, extra = _LIBRARIES[family]
    missing = [name for name in libraries if find_spec(name) is None]
    if not missing:
        return None
    return (
        f"engine {family} needs {' and '.join(missing)}, not installed here; "
        f"pip install 'labelmill[{extra}]'"
    )


def open_engine(folder: Path, manifest: Manifest, name: str, *, threads: int = 1) -> Engine:
    """Opens the concrete engine `name` on a version.

    Args:
        folder: the version's folder.
        manifest: the version's manifest.
        name: concrete name, e.g. ``onnx-int8``.
        threads: threads that call `infer` at once; each call computes on one thread of the CPU.

    Raises:
        EngineUnavailableError: the version has no such engine, or its library is not installed.
    """
    if name not in manifest.engines and engine_family(name) == "onnx":
        raise EngineUnavailableError(
            f"{manifest.model}@{manifest.version} was not published for {name}; it has "
            + ", ".join(manifest.engines)
        )
    family = engine_family(name)
    if missing := missing_library(family):
        raise EngineUnavailableError(missing)
    opener: Opener = import_module(_MODULES[family]).open_engine
    return opener(folder, manifest, name, threads)


def pad(
    token_ids: Sequence[Sequence[int]], pad_token_id: int, width: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pads rows to the longest, or to `width` where that is more.

    Returns:
        input_ids and attention_mask, int64, each (rows, width).
    """
    lengths = np.fromiter(map(len, token_ids), dtype=np.int64, count=len(token_ids))
    width = max(width, int(lengths.max()))
    mask = np.arange(width) < lengths[:, None]
    ids = np.full((len(token_ids), width), pad_token_id, dtype=np.int64)
    ids[mask] = np.concatenate([np.asarray(row, dtype=np.int64) for row in token_ids])
    return ids, mask.astype(np.int64)
