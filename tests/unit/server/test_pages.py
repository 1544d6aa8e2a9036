from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelmill.errors import InvalidArgumentError
from labelmill.server import pages


@given(st.integers(0, 2**63 - 1), st.text())
def test_a_token_gives_back_what_it_was_made_of(number: int, text: str) -> None:
    token = pages.token("jobs", number, text)
    assert token.isascii()
    assert pages.values_of("jobs", token, int, str) == [number, text]


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        pages.values_of("jobs", text, int, field="resume_token")
    assert caught.value.violations[0].field == "resume_token"


@pytest.mark.parametrize(
    "token",
    [
        pages.token("other", 1),
        pages.token("jobs", "1"),
        pages.token("jobs", 1, 2),
        pages.token("jobs", -1),
        pages.token("jobs", 2**63),
        pages.token("jobs", True),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b'{"jobs": 1}').decode(),
    ],
)
def test_a_token_of_something_else_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError):
        pages.values_of("jobs", token, int)


def test_page_sizes_out_of_range_are_refused() -> None:
    assert pages.page_size(0, default=100, most=1000) == 100
    assert pages.page_size(1000, default=100, most=1000) == 1000
    for size in (-1, 1001):
        with pytest.raises(InvalidArgumentError, match="1 to 1000"):
            pages.page_size(size, default=100, most=1000)
