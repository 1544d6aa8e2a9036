"""ONNX Runtime as most guides use it: batches of 32 in file order, one session, all threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime

from labelmill.registry.manifest import TOKENIZER_FILE
from labelmill.worker.bench.job import DYNAMIC_INT8_FILE, PLAIN_FILE, Job
from labelmill.worker.bench.predictor import FILE_ORDER_ROWS, label_names
from labelmill.worker.engines.base import pad
from labelmill.worker.padding import Padding
from labelmill.worker.tokenizer import Tokenizer


class FileOrderPredictor:
    """A plain session with ONNX Runtime's own options but for the number of threads.

    Args:
        name: ``ort-fp32`` or ``ort-dynamic-int8``.
        job: the run; `plain_export` and `dynamic_int8` wrote the files before.
    """

    def __init__(self, name: str, job: Job) -> None:
        folder = job.version_folder
        self._manifest = job.manifest()
        file = job.folder / (PLAIN_FILE if name == "ort-fp32" else DYNAMIC_INT8_FILE)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        self._session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer(folder / TOKENIZER_FILE, self._manifest.max_length)
        self.file_bytes = file.stat().st_size
        self.padding_waste: float | None = None

    def predict(self, texts: Sequence[str]) -> list[str]:
        """See `Predictor.predict`."""
        parts, lengths = [], []
        for start in range(0, len(texts), FILE_ORDER_ROWS):
            tokens = self._tokenizer.encode(texts[start : start + FILE_ORDER_ROWS])
            input_ids, mask = pad([row.ids for row in tokens], self._manifest.pad_token_id)
            feed = {"input_ids": input_ids, "attention_mask": mask}
            parts.append(self._session.run(["logits"], feed)[0])
            lengths.append([len(row.ids) for row in tokens])
        self.padding_waste = Padding.of(lengths).waste
        return label_names(np.concatenate(parts), self._manifest)


def open_predictor(name: str, job: Job) -> FileOrderPredictor:
    """Opens a session, see `labelmill.worker.bench.predictor.open_predictor`."""
    return FileOrderPredictor(name, job)
