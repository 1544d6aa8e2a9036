from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from labelmill.worker.bench.weights import macs_per_token


def test_only_matrices_of_repeated_layers_count(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    shapes = {
        "bert.embeddings.word_embeddings.weight": (100, 8),
        "bert.encoder.layer.0.attention.self.query.weight": (8, 8),
        "bert.encoder.layer.1.intermediate.dense.weight": (32, 8),
        "bert.encoder.layer.1.intermediate.dense.bias": (32,),
        "classifier.weight": (3, 8),
    }
    tensors = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "torch" / "model.safetensors")
    assert macs_per_token(tmp_path) == 8 * 8 + 32 * 8
