"""The examples of docs/client.md run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from unit.client.fake_server import FakeServer, training_event

PAGE = Path(__file__).resolve().parents[3] / "docs" / "client.md"

EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) >= 7


@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(
    code: str, fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELMILL_ADDRESS", fake.address)
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_text("text,label\na good film,positive\n", encoding="utf-8")
    fake.training_script = [training_event(1, "register", "SUCCEEDED", message="registered")]
    exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})
