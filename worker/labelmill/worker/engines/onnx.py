"""Engine `onnx`: a version's INT8 or fp32 file under ONNX Runtime, on the CPU.

Owns the session and its options; not which rows go together (`engines.batches`), nor whether the
answers are right on this CPU (`engines.golden`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from labelmill.errors import ArtifactCorruptError, EngineUnavailableError, InternalError
from labelmill.registry import Manifest
from labelmill.registry.manifest import ONNX_FP32_FILE, ONNX_INT8_FILE
from labelmill.worker.engines.base import CPU_BATCH_TOKENS, pad

#: Concrete engine → its file within a version's folder.
FILES = {"onnx-int8": ONNX_INT8_FILE, "onnx-fp32": ONNX_FP32_FILE}

#: What ONNX Runtime raises on a file that is missing, cut short or no graph at all.
_CORRUPT = (
    ort_errors.NoSuchFile,
    ort_errors.InvalidProtobuf,
    ort_errors.InvalidGraph,
    ort_errors.NoModel,
)

#: What it raises on a good file that this build of it cannot run.
_UNABLE = (
    ort_errors.NotImplemented,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.RuntimeException,
)

#: What it raises when a run fails.
_FAILED = (ort_errors.Fail, ort_errors.InvalidArgument, ort_errors.RuntimeException)


class OnnxEngine:
    """One inference session; `infer` may be called from several threads at once.

    Args:
        file: the ONNX file, with inputs input_ids and attention_mask and the output logits.
        name: concrete name, e.g. ``onnx-int8``.
        pad_token_id: fills rows that are shorter than the batch's longest.

    Raises:
        ArtifactCorruptError: the file is missing or no ONNX model of ours.
        EngineUnavailableError: this ONNX Runtime cannot run it.
    """

    max_batch_tokens = CPU_BATCH_TOKENS

    def __init__(self, file: Path, name: str, pad_token_id: int) -> None:
        self.name = name
        self._pad_token_id = pad_token_id
        try:
            self._session = onnxruntime.InferenceSession(
                str(file), session_options(1), providers=["CPUExecutionProvider"]
            )
        except _CORRUPT as error:
            raise ArtifactCorruptError(
                f"{file.name} is not a readable ONNX model ({error}); restore {file} from a "
                "backup or train the model again",
                metadata={"artifact": file.name},
            ) from error
        except _UNABLE as error:
            raise EngineUnavailableError(
                f"ONNX Runtime {onnxruntime.__version__} cannot run {file.name} ({error}); "
                "update onnxruntime on this worker"
            ) from error
        inputs = sorted(node.name for node in self._session.get_inputs())
        outputs = [node.name for node in self._session.get_outputs()]
        if inputs != ["attention_mask", "input_ids"] or outputs != ["logits"]:
            raise ArtifactCorruptError(
                f"{file.name} maps {inputs} to {outputs}, not input_ids and attention_mask to "
                "logits; it was not exported by labelmill",
                metadata={"artifact": file.name},
            )

    def infer(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits of a batch, see `Engine.infer`."""
        input_ids, attention_mask = pad(token_ids, self._pad_token_id)
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        try:
            logits: NDArray[np.float32] = self._session.run(["logits"], feed)[0]
        except _FAILED as error:
            raise InternalError(
                f"{self.name} failed on a batch of {input_ids.shape}: {error}"
            ) from error
        return logits

    def close(self) -> None:
        """Frees the model."""
        del self._session


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Options every session of labelmill has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A pool that spins between calls steals the cores from every other session of the process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A memory pattern is kept for each input shape ever seen: memory would grow with their number.
    options.enable_mem_pattern = False
    return options


def open_engine(folder: Path, manifest: Manifest, name: str, _threads: int) -> OnnxEngine:
    """Opens `name` on a version, see `labelmill.worker.engines.open_engine`."""
    return OnnxEngine(folder / FILES[name], name, manifest.pad_token_id)
