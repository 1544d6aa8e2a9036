from __future__ import annotations

import json
from dataclasses import asdict

from labelmill.queue.presence import WorkerInfo

INFO = WorkerInfo("w", ["onnx"], ["onnx-int8"], 2, True, "host", 7, tokens=75, padded_tokens=100)


def test_padding_is_what_no_text_has() -> None:
    assert INFO.padding_waste == 0.25


def test_a_worker_of_a_later_release_is_understood() -> None:
    said = asdict(INFO) | {"temperature": 451}
    assert WorkerInfo.read(json.dumps(said).encode()) == INFO


def test_a_worker_of_an_earlier_release_is_understood() -> None:
    said = asdict(INFO)
    del said["tokens"], said["padded_tokens"]
    assert WorkerInfo.read(json.dumps(said).encode()).padding_waste is None
