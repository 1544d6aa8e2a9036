from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.errors import InvalidArgumentError
from labelmill.server import validate
from labelmill.v1.scoring_pb2 import ScoringItem


@given(st.lists(st.text(), min_size=1, max_size=256))
def test_exactly_the_blank_texts_are_named(texts: list[str]) -> None:
    blank = [f"texts[{at}]" for at, text in enumerate(texts) if not text.strip()]
    if not blank:
        validate.texts(texts)
        return
    with pytest.raises(InvalidArgumentError) as caught:
        validate.texts(texts)
    named = [violation.field for violation in caught.value.violations]
    assert named == blank[: len(named)]
    if len(blank) > len(named):
        assert f"and {len(blank) - len(named)} more" in caught.value.message


@pytest.mark.parametrize("size", [validate.MAX_TEXT_BYTES, validate.MAX_TEXT_BYTES + 1])
@pytest.mark.parametrize("character", ["a", "é", "日", "🎬"])
def test_a_text_is_measured_in_bytes(size: int, character: str) -> None:
    width = len(character.encode())
    text = character * (size // width) + "a" * (size % width)
    assert len(text.encode()) == size
    if size <= validate.MAX_TEXT_BYTES:
        validate.items([ScoringItem(text=text)], "items")
    else:
        with pytest.raises(InvalidArgumentError, match=f"items\\[0\\].text: has {size} bytes"):
            validate.items([ScoringItem(text=text)], "items")


@given(st.uuids())
def test_only_uuid4_makes_a_request_id(value: uuid.UUID) -> None:
    if value.version == 4:
        validate.request_id(str(value))
    else:
        with pytest.raises(InvalidArgumentError, match="UUID4"):
            validate.request_id(str(value))


def test_no_request_id_is_fine() -> None:
    validate.request_id("")
