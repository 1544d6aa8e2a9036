"""`python -m labelmill.worker.bench.plain_export JOB_FILE`: the checkpoint as guides export it.

What `ort-fp32` and `ort-dynamic-int8` run: PyTorch's own exporter and nothing of labelmill's, so
that they are what a user would have without it. In a process of its own, so that the memory of
PyTorch is not charged to the contender.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from labelmill.registry.manifest import TORCH_DIR
from labelmill.worker.bench.job import PLAIN_FILE, Job
from labelmill.worker.engines.torch import load_model

#: Rows and tokens of the example that is traced.
_EXAMPLE = (2, 11)


class _Logits(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def main() -> int:
    """Writes the file into the run's folder; returns the exit code."""
    job = Job.read(Path(sys.argv[1]))
    model = load_model(job.version_folder / TORCH_DIR, torch.float32, attention="eager")
    ids = torch.full(_EXAMPLE, (model.config.pad_token_id or 0) + 5)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    warnings.simplefilter("ignore")
    # The exporter talks on stdout, where the answer of a module is expected.
    with torch.no_grad(), redirect_stdout(sys.stderr):
        torch.onnx.export(
            _Logits(model).eval(),
            (ids, torch.ones_like(ids)),
            job.folder / PLAIN_FILE,
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
            external_data=False,
            verbose=False,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
