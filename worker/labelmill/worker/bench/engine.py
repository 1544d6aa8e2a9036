"""labelmill's own engines: batches of least predicted time, shared by threads."""

from __future__ import annotations

from collections.abc import Sequence

from labelmill.names import engine_family
from labelmill.registry.manifest import ONNX_INT8_FILE, TOKENIZER_FILE, TORCH_DIR
from labelmill.worker.bench.job import Job
from labelmill.worker.bench.predictor import label_names
from labelmill.worker.engines.base import open_engine
from labelmill.worker.engines.batches import run_batches
from labelmill.worker.engines.cost import measure
from labelmill.worker.engines.cut import Limits, cut
from labelmill.worker.engines.onnx import FILES
from labelmill.worker.padding import Padding
from labelmill.worker.tokenizer import Tokenizer


class EnginePredictor:
    """An engine with its tokenizer and batching.

    Args:
        name: concrete engine, e.g. ``onnx-int8``.
        job: the run.
    """

    def __init__(self, name: str, job: Job) -> None:
        folder = job.version_folder
        self._manifest = job.manifest()
        self._threads = job.threads
        self._engine = open_engine(folder, self._manifest, name, threads=job.threads)
        self._tokenizer = Tokenizer(folder / TOKENIZER_FILE, self._manifest.max_length)
        self._cost = measure(self._engine, self._manifest.max_length, self._manifest.pad_token_id)
        self._limits = Limits(self._engine.max_batch_tokens)
        is_torch = engine_family(name) == "torch"
        file = TORCH_DIR + "/model.safetensors" if is_torch else FILES.get(name, ONNX_INT8_FILE)
        self.file_bytes = (folder / file).stat().st_size
        self.padding_waste: float | None = None

    def predict(self, texts: Sequence[str]) -> list[str]:
        """See `Predictor.predict`."""
        ids = [tokens.ids for tokens in self._tokenizer.encode(texts)]
        lengths = [len(row) for row in ids]
        batches = cut(lengths, self._cost, self._limits, self._threads)
        padding = Padding.of([lengths[row] for row in batch] for batch in batches)
        self.padding_waste = padding.waste
        threads = 1 if len(batches) == 1 else self._threads
        logits = run_batches(self._engine, ids, batches, threads)
        return label_names(logits, self._manifest)


def open_predictor(name: str, job: Job) -> EnginePredictor:
    """Opens a concrete engine, see `labelmill.worker.bench.predictor.open_predictor`."""
    return EnginePredictor(name, job)
