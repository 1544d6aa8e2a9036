"""Checkpoint to a version's files: export, gate, quantize, gate, golden texts.

Owns the order of the steps and what is published; each step is a module of its own.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from labelmill.errors import GateFailedError, InvalidArgumentError
from labelmill.registry.manifest import (
    GOLDEN_FILE,
    ONNX_FP32_FILE,
    ONNX_INT8_FILE,
    TOKENIZER_FILE,
    TORCH_DIR,
)
from labelmill.worker import cpu
from labelmill.worker.engines import batches
from labelmill.worker.engines.onnx import OnnxEngine
from labelmill.worker.engines.torch import TorchEngine, load_model
from labelmill.worker.export import gates, golden
from labelmill.worker.export.attempts import Attempt, attempts
from labelmill.worker.export.graph import OPSET, export_graph
from labelmill.worker.export.quantize import Quantizer
from labelmill.worker.export.request import ExportRequest, ExportResult, Notify
from labelmill.worker.export.trial import Trial
from labelmill.worker.tokenizer import Tokenizer

__all__ = ["ExportRequest", "ExportResult", "Notify", "export_version"]

#: Gate texts that the fp32 model is run on alone and in shuffled batches; INT8 is run on all.
_FP32_ALONE_TEXTS = 256

#: What of a checkpoint a version keeps for the torch engine.
_TORCH_FILES = ("config.json", "model.safetensors")


def export_version(request: ExportRequest, notify: Notify) -> ExportResult:
    """Fills the request's folder with tokenizer, checkpoint, ONNX files and golden texts.

    Raises:
        InvalidArgumentError: the labels do not fit the checkpoint, or there are no texts.
        ArtifactCorruptError: the checkpoint cannot be loaded.
        GateFailedError: the fp32 ONNX decides otherwise than PyTorch; nothing can be published.
    """
    seconds: dict[str, float] = {}
    folder, threads = request.folder, cpu.usable_cores()
    with _timed(seconds, "export"):
        _copy_checkpoint(request)
        classifier = load_model(folder / TORCH_DIR, torch.float32, attention="eager")
        _check(request, classifier.config.num_labels)
        pad_token_id = classifier.config.pad_token_id or 0
        notify("export", f"tracing the {classifier.config.model_type} model to ONNX")
        graph, shape = export_graph(classifier, pad_token_id)
        ir.save(graph, folder / ONNX_FP32_FILE)
        if shape["layout"] == "plain":
            notify("export", "its attention is none that is known; exporting the plain graph")
    tokenizer = Tokenizer(folder / TOKENIZER_FILE, request.max_length)
    trial = Trial.of(request, tokenizer, threads)

    notify("gates", f"comparing ONNX fp32 with PyTorch on {len(trial.token_ids)} texts")
    with _timed(seconds, "torch_logits"):
        reference = TorchEngine(classifier, "torch-fp32", pad_token_id)
        with _single_torch_threads():
            torch_logits = batches.run(reference, trial.token_ids, threads)
    with _timed(seconds, "fp32_gates"):
        fp32 = OnnxEngine(folder / ONNX_FP32_FILE, "onnx-fp32", pad_token_id)
        fp32_logits, invariance = trial.run(fp32, _FP32_ALONE_TEXTS)
        fp32.close()
        proven = gates.fp32_gates(trial, torch_logits, fp32_logits, invariance)
    if failed := gates.failures(proven):
        raise GateFailedError(f"the exported ONNX model is not the PyTorch model: {failed}")

    calibration = [tokens.ids for tokens in tokenizer.encode(request.calibration_texts)]
    notify("quantize", f"searching INT8 ranges for {classifier.config.model_type}")
    with _timed(seconds, "calibrate"):
        quantizer = Quantizer(folder / ONNX_FP32_FILE, calibration, threads)
    fp32_bytes = (folder / ONNX_FP32_FILE).stat().st_size
    with _timed(seconds, "int8"):
        tried = list(
            attempts(
                quantizer,
                trial,
                fp32_logits,
                folder / ONNX_INT8_FILE,
                fp32_bytes,
                pad_token_id,
                notify,
            )
        )
    published = tried[-1].passed
    # Where none passed, the first is the one that costs nothing.
    int8 = tried[-1] if published else tried[0]
    proven += int8.gates
    if not published:
        (folder / ONNX_INT8_FILE).unlink()
        notify("gates", f"INT8 is not published, fp32 is: {gates.failures(int8.gates)}")

    golden.write(
        folder / GOLDEN_FILE,
        request.gate_texts,
        trial.token_ids,
        fp32_logits,
        int8.logits if published else None,
    )
    return ExportResult(
        engines=["onnx-int8", "onnx-fp32"] if published else ["onnx-fp32"],
        int8=int8.details if published else None,
        gates=proven,
        torch_logits=torch_logits,
        fp32_logits=fp32_logits,
        int8_logits=int8.logits if published else None,
        details={
            "opset": OPSET,
            "gate_texts": len(trial.token_ids),
            "gate_source": request.gate_source,
            "architecture": shape,
            "int8_recipe": int8.details,
            "int8_tried": [_told(attempt, fp32_logits) for attempt in tried],
            "fp32_abs_dlogit": _quantiles(fp32_logits - torch_logits),
            "int8_abs_dlogit": _quantiles(int8.logits - fp32_logits),
            "size_bytes": {ONNX_FP32_FILE: fp32_bytes, ONNX_INT8_FILE: int8.size_bytes},
            "seconds": seconds,
        },
    )


def _copy_checkpoint(request: ExportRequest) -> None:
    target = request.folder / TORCH_DIR
    target.mkdir(parents=True, exist_ok=True)
    for name in _TORCH_FILES:
        shutil.copyfile(request.checkpoint / name, target / name)
    shutil.copyfile(request.checkpoint / TOKENIZER_FILE, request.folder / TOKENIZER_FILE)


def _check(request: ExportRequest, outputs: int) -> None:
    if outputs != len(request.labels):
        raise InvalidArgumentError.at(
            "labels", f"has {len(request.labels)} names for a checkpoint with {outputs} outputs"
        )
    for field in ("calibration_texts", "gate_texts"):
        if not len(getattr(request, field)):
            raise InvalidArgumentError.at(field, "is empty; give some texts like those to classify")


@contextmanager
def _single_torch_threads() -> Iterator[None]:
    """Threads of ours instead of PyTorch's: on batches this small they wait less."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[step] = round(time.monotonic() - start, 3)


def _told(attempt: Attempt, fp32_logits: NDArray[np.float32]) -> dict[str, Any]:
    return {
        "recipe": attempt.recipe,
        "failed": [gate.name for gate in attempt.gates if not gate.passed],
        "label_agreement": attempt.gates[0].value,
        "abs_dlogit": _quantiles(attempt.logits - fp32_logits),
    }


def _quantiles(differences: NDArray[np.float32]) -> dict[str, float]:
    p50, p99, largest = np.quantile(np.abs(differences), [0.5, 0.99, 1.0])
    return {"p50": float(p50), "p99": float(p99), "max": float(largest)}
