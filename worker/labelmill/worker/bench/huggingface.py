"""The Hugging Face pipeline as its documentation shows it: batches of 32 in file order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, pipeline

from labelmill.errors import EngineUnavailableError
from labelmill.names import UNKNOWN
from labelmill.registry import Manifest
from labelmill.registry.manifest import TOKENIZER_FILE, TORCH_DIR
from labelmill.worker import cpu
from labelmill.worker.bench.job import Job
from labelmill.worker.bench.predictor import FILE_ORDER_ROWS
from labelmill.worker.engines.torch import load_model

_DTYPES = {"hf-pipeline-fp32": torch.float32, "hf-pipeline-bf16": torch.bfloat16}

#: Score from which a label of a multi-label version without thresholds of its own counts.
_MULTI_LABEL_THRESHOLD = 0.5


class PipelinePredictor:
    """`transformers.pipeline("text-classification")` on the CPU.

    Args:
        name: ``hf-pipeline-fp32`` or ``hf-pipeline-bf16``.
        job: the run.

    Raises:
        EngineUnavailableError: bf16 on a CPU without bf16 products.
    """

    def __init__(self, name: str, job: Job) -> None:
        if name == "hf-pipeline-bf16" and not cpu.has_bf16():
            raise EngineUnavailableError(
                f"{name}: {cpu.cpu_name()} has neither AVX512_BF16 nor AMX, so bf16 would be "
                "emulated; leave it out"
            )
        torch.set_num_threads(job.threads)
        self._manifest = job.manifest()
        folder = job.version_folder / TORCH_DIR
        self.file_bytes = (folder / "model.safetensors").stat().st_size
        self.padding_waste: float | None = None
        model = load_model(folder, _DTYPES[name])
        model.config.id2label = dict(enumerate(self._manifest.labels))
        self._pipeline = pipeline(
            "text-classification",
            model=model,
            tokenizer=_tokenizer(job, self._manifest),
            device="cpu",
        )

    def predict(self, texts: Sequence[str]) -> list[str]:
        """See `Predictor.predict`."""
        several = self._manifest.problem_type == "multi_label"
        answers: Any = self._pipeline(
            list(texts),
            batch_size=FILE_ORDER_ROWS,
            truncation=True,
            max_length=self._manifest.max_length,
            **({"top_k": None} if several else {}),
        )
        if not several:
            return [answer["label"] for answer in answers]
        return [self._chosen({one["label"]: one["score"] for one in answer}) for answer in answers]

    def _chosen(self, scores: dict[str, float]) -> str:
        labels = self._manifest.labels
        limits = self._manifest.label_thresholds or [_MULTI_LABEL_THRESHOLD] * len(labels)
        chosen = [
            label for label, limit in zip(labels, limits, strict=True) if scores[label] >= limit
        ]
        return "|".join(chosen) or UNKNOWN


def _tokenizer(job: Job, manifest: Manifest) -> Any:
    file = job.version_folder / TOKENIZER_FILE
    pad_token = Tokenizer.from_file(str(file)).id_to_token(manifest.pad_token_id)
    tokenizer: Any = PreTrainedTokenizerFast
    return tokenizer(
        tokenizer_file=str(file),
        pad_token=pad_token,
        model_max_length=manifest.max_length,
        # Token types are zeros, which every architecture takes when there are none.
        model_input_names=["input_ids", "attention_mask"],
    )


def open_predictor(name: str, job: Job) -> PipelinePredictor:
    """Opens a pipeline, see `labelmill.worker.bench.predictor.open_predictor`."""
    return PipelinePredictor(name, job)
