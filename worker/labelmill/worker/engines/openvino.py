"""Engine `openvino`: a version's INT8 file under OpenVINO, on the CPU.

Owns the compiled model, its options and its requests; not what is altered in the graph
(`engines.openvino_graph`), nor whether the answers are right on this CPU (`engines.golden`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelmill.errors import ArtifactCorruptError, EngineUnavailableError, InternalError
from labelmill.registry import Manifest
from labelmill.registry.manifest import ONNX_INT8_FILE
from labelmill.worker.engines.base import CPU_BATCH_TOKENS, pad
from labelmill.worker.engines.openvino_graph import CONVERSIONS, fix_widths
from labelmill.worker.engines.openvino_library import (
    FrontEndManager,
    GeneralFailure,
    OpConversionFailure,
    openvino,
)
from labelmill.worker.engines.shapes import rounded

#: Kernels kept of each kind of operator, the least used dropped first. One shape needs up to 6 of
#: a kind: with 100, the 9 shapes of the cost model and those of a chunk drove each other out.
_KERNELS_KEPT = 300


class OpenVinoEngine:
    """One compiled model; `infer` may be called from several threads at once.

    Args:
        file: the ONNX file, with inputs input_ids and attention_mask and the output logits.
        name: concrete name, ``openvino-int8``.
        pad_token_id: fills rows that are shorter than the batch's longest.
        max_length: tokens that a row may have.
        threads: batches computed at once, each on a thread of its own.

    Raises:
        ArtifactCorruptError: the file is missing or no ONNX model of ours.
        EngineUnavailableError: this OpenVINO cannot run it.
    """

    max_batch_tokens = CPU_BATCH_TOKENS

    def __init__(
        self, file: Path, name: str, pad_token_id: int, max_length: int, threads: int = 1
    ) -> None:
        self.name = name
        self._pad_token_id = pad_token_id
        self._max_length = max_length
        model = _read(file)
        fix_widths(model)
        try:
            self._compiled = openvino.Core().compile_model(model, "CPU", _options(threads))
        except RuntimeError as error:
            raise _unable(file, error) from error
        # A request computes one batch at a time; who finds none free waits for one.
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(threads):
            self._requests.put(self._compiled.create_infer_request())

    def infer(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits of a batch, see `Engine.infer`."""
        longest = max(map(len, token_ids))
        rows, width = rounded(len(token_ids), longest, self._max_length)
        filling = [[self._pad_token_id]] * (rows - len(token_ids))
        input_ids, mask = pad([*token_ids, *filling], self._pad_token_id, width)
        request = self._requests.get()
        try:
            # Asynchronous, because that alone lets OpenVINO choose a stream that is free.
            request.start_async({"input_ids": input_ids, "attention_mask": mask}, share_inputs=True)
            request.wait()
            logits: NDArray[np.float32] = request.get_output_tensor().data[: len(token_ids)].copy()
        except RuntimeError as error:
            raise InternalError(
                f"{self.name} failed on a batch of {input_ids.shape}: {error}"
            ) from error
        finally:
            self._requests.put(request)
        return logits

    def close(self) -> None:
        """Frees the model."""
        del self._requests, self._compiled


def _read(file: Path) -> Any:
    frontend: Any = FrontEndManager().load_by_framework("onnx")
    for conversion in CONVERSIONS:
        frontend.add_extension(conversion)
    try:
        model = frontend.convert(frontend.load(str(file)))
    except GeneralFailure as error:
        raise ArtifactCorruptError(
            f"{file.name} is not a readable ONNX model ({error}); restore {file} from a backup or "
            "train the model again",
            metadata={"artifact": file.name},
        ) from error
    except OpConversionFailure as error:
        raise _unable(file, error) from error
    inputs, outputs = (
        sorted(port.any_name for port in end) for end in (model.inputs, model.outputs)
    )
    if inputs != ["attention_mask", "input_ids"] or outputs != ["logits"]:
        raise ArtifactCorruptError(
            f"{file.name} maps {inputs} to {outputs}, not input_ids and attention_mask to logits; "
            "it was not exported by labelmill",
            metadata={"artifact": file.name},
        )
    return model


def _unable(file: Path, error: Exception) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"OpenVINO {openvino.__version__} cannot run {file.name} ({error}); update openvino "
        "on this worker, or use engine onnx"
    )


def _options(threads: int) -> dict[str, str]:
    return {
        "NUM_STREAMS": str(threads),
        "INFERENCE_NUM_THREADS": str(threads),
        # Two workers of one machine would be pinned to the same cores.
        "ENABLE_CPU_PINNING": "NO",
        # `threads` counts logical processors; without this only one of each pair is used.
        "ENABLE_HYPER_THREADING": "YES",
        # What is not INT8 would be bf16 where the CPU has it: no faster, and further from the
        # recorded answers than the self-test allows.
        "INFERENCE_PRECISION_HINT": "f32",
        # Fused attention sums in another order for each width: 6 times as many answers depended
        # on the padding. It is not faster either.
        "SNIPPETS_MODE": "DISABLE",
        "CPU_RUNTIME_CACHE_CAPACITY": str(_KERNELS_KEPT),
    }


def open_engine(folder: Path, manifest: Manifest, name: str, threads: int) -> OpenVinoEngine:
    """Opens `name` on a version, see `labelmill.worker.engines.open_engine`."""
    if "onnx-int8" not in manifest.engines:
        raise EngineUnavailableError(
            f"{manifest.model}@{manifest.version} was not published for INT8, which {name} reads; "
            f"it has {', '.join(manifest.engines)}"
        )
    file = folder / ONNX_INT8_FILE
    return OpenVinoEngine(file, name, manifest.pad_token_id, manifest.max_length, threads)
