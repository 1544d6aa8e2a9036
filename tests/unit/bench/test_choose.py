from __future__ import annotations

import pytest

from labelmill.client.bench.offline import BASELINES, ENGINES, choose
from labelmill.errors import InvalidArgumentError


def test_by_default_all_run() -> None:
    assert choose(None, None) == (*BASELINES, *ENGINES)


def test_engines_keep_the_baselines() -> None:
    assert choose("onnx-int8, torch-fp32", None) == (*BASELINES, "onnx-int8", "torch-fp32")
    assert choose("onnx", None) == (*BASELINES, "onnx-int8", "onnx-fp32")


def test_contenders_are_exactly_those_named() -> None:
    assert choose(None, "onnx-int8,ort-fp32,onnx-int8") == ("onnx-int8", "ort-fp32")


@pytest.mark.parametrize(
    ("engines", "contenders", "field"),
    [("tensorrt", None, "engines"), (None, "vllm", "contenders"), ("onnx", "onnx-int8", "engines")],
)
def test_what_cannot_be_chosen_is_named(
    engines: str | None, contenders: str | None, field: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        choose(engines, contenders)
    assert [violation.field for violation in caught.value.violations] == [field]
