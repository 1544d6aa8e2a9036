"""Engine `torch`: a version's checkpoint under PyTorch, on a GPU where there is one.

`torch-fp32` is the reference that exports are measured against; `torch-bf16` is for GPUs and for
CPUs with bf16 products. Never runs remote code, never downloads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification

from labelmill.errors import ArtifactCorruptError, EngineUnavailableError
from labelmill.registry import Manifest
from labelmill.registry.manifest import TORCH_DIR
from labelmill.worker import cpu
from labelmill.worker.engines.base import pad

_DTYPES = {"torch-fp32": torch.float32, "torch-bf16": torch.bfloat16}


class TorchEngine:
    """A sequence classifier in inference mode; `infer` may be called from several threads.

    Args:
        model: a Hugging Face sequence classification model, already on its device.
        name: concrete name, e.g. ``torch-fp32``.
        pad_token_id: fills rows that are shorter than the batch's longest.
    """

    max_batch_tokens = 512

    def __init__(self, model: Any, name: str, pad_token_id: int) -> None:
        self.name = name
        self._model = model.eval()
        self._pad_token_id = pad_token_id

    @torch.inference_mode()
    def infer(self, token_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits of a batch, see `Engine.infer`."""
        device = self._model.device
        input_ids, attention_mask = (
            torch.from_numpy(array).to(device, non_blocking=True)
            for array in pad(token_ids, self._pad_token_id)
        )
        output = self._model(input_ids=input_ids, attention_mask=attention_mask)
        logits: NDArray[np.float32] = output.logits.float().cpu().numpy()
        return logits

    def close(self) -> None:
        """Frees the model."""
        del self._model


def load_model(folder: Path, dtype: torch.dtype, attention: str | None = None) -> Any:
    """Loads a Hugging Face classification checkpoint: safetensors only, no code, no network.

    Args:
        folder: holds config.json and model.safetensors.
        dtype: of the weights.
        attention: attention implementation, e.g. ``eager``; by default the fastest that the
            architecture has.

    Raises:
        ArtifactCorruptError: a file is missing or unreadable, or lacks some of the weights.
    """
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            str(folder),
            dtype=dtype,
            attn_implementation=attention,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise _corrupt(folder, f"cannot be loaded ({error})") from error
    if loading["missing_keys"]:
        raise _corrupt(folder, f"lacks the weights {', '.join(sorted(loading['missing_keys']))}")
    return model.eval()


def _corrupt(folder: Path, problem: str) -> ArtifactCorruptError:
    return ArtifactCorruptError(
        f"the checkpoint in {folder} {problem}; it needs config.json and model.safetensors of a "
        "sequence classifier; restore them or train the model again",
        metadata={"artifact": TORCH_DIR},
    )


def open_engine(folder: Path, manifest: Manifest, name: str, _threads: int) -> TorchEngine:
    """Opens `name` on a version, see `labelmill.worker.engines.open_engine`.

    Sets PyTorch's threads of the whole process to one a call.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "torch-bf16" and not _runs_bf16(device):
        raise EngineUnavailableError(
            "torch-bf16 needs a CUDA GPU with bf16, or a CPU with AVX512_BF16 or AMX; this "
            f"machine is {cpu.cpu_name()}; use torch-fp32"
        )
    torch.set_num_threads(1)
    model = load_model(folder / TORCH_DIR, _DTYPES[name]).to(device)
    return TorchEngine(model, name, manifest.pad_token_id)


def _runs_bf16(device: torch.device) -> bool:
    return torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu.has_bf16()
