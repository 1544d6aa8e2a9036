from __future__ import annotations

import pytest

from labelmill.errors import InvalidArgumentError
from labelmill.names import ModelRef, engine_choices, parse_model_ref


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("reviews", ModelRef("reviews", "default", None)),
        ("reviews@canary", ModelRef("reviews", "canary", None)),
        ("reviews@3", ModelRef("reviews", None, 3)),
        ("a.b-c_1@2", ModelRef("a.b-c_1", None, 2)),
    ],
)
def test_a_reference_names_an_alias_or_a_version(text: str, ref: ModelRef) -> None:
    assert parse_model_ref(text) == ref


@pytest.mark.parametrize(
    "text", ["", "Reviews", "a/b", "../etc", "a@", "a@B", "a" * 65, "a@1x", "é"]
)
def test_a_bad_reference_names_the_field(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_model_ref(text)
    assert [violation.field for violation in caught.value.violations] == ["model"]


def test_onnx_prefers_int8() -> None:
    assert engine_choices("") == engine_choices("onnx") == ("onnx-int8", "onnx-fp32")


def test_an_unknown_engine_is_refused_with_the_choices() -> None:
    with pytest.raises(InvalidArgumentError, match="onnx-int8.*openvino"):
        engine_choices("tpu")
