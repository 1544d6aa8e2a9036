"""One export and quantization of each family, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import pytest
import torch
from classifiers import FAMILIES, make_classifier

from labelmill.worker.engines.onnx import OnnxEngine
from labelmill.worker.engines.torch import load_model
from labelmill.worker.export.graph import export_graph
from labelmill.worker.export.quantize import Quantizer
from labelmill.worker.export.recipe import RECIPES

#: Rows of the word table, enough to be stored as INT8.
TABLE_ROWS = 2000


class Exported(NamedTuple):
    model: Any
    made: dict[str, Any]
    recipe: dict[str, Any]
    fp32: Path
    int8: Path

    @property
    def pad_token_id(self) -> int:
        return int(self.model.config.pad_token_id)

    def open_fp32(self) -> OnnxEngine:
        return OnnxEngine(self.fp32, "onnx-fp32", self.pad_token_id)

    def open_int8(self) -> OnnxEngine:
        return OnnxEngine(self.int8, "onnx-int8", self.pad_token_id)


def rows_of(count: int, seed: int) -> list[list[int]]:
    """Token ids of texts of 3 to 40 tokens."""
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 24, rng.integers(3, 41)).tolist() for _ in range(count)]


def export_tiny(folder: Path, family: str) -> Exported:
    make_classifier(folder, family, labels=3, rows=TABLE_ROWS)
    model = load_model(folder, torch.float32, attention="eager")
    graph, made = export_graph(model, model.config.pad_token_id)
    ir.save(graph, folder / "fp32.onnx")
    quantizer = Quantizer(folder / "fp32.onnx", rows_of(50, seed=1), threads=2)
    int8, recipe = quantizer.quantize(RECIPES[0])
    ir.save(int8, folder / "int8.onnx")
    return Exported(model, made, recipe, folder / "fp32.onnx", folder / "int8.onnx")


@pytest.fixture(scope="session", params=FAMILIES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_tiny(tmp_path_factory.mktemp(request.param), request.param)
