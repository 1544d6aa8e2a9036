from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from labelmill.worker.bench.contender import Contender, answer
from labelmill.worker.bench.job import Job


class Upper:
    """Labels a text by its first letter, in another way when it is alone."""

    file_bytes = 1
    padding_waste: float | None = None

    def predict(self, texts: Sequence[str]) -> list[str]:
        self.padding_waste = 0.25 if len(texts) > 1 else 0.0
        return [text[0].upper() if len(texts) > 1 else text[0] for text in texts]


def contender(tmp_path: Path, lengths: Sequence[int]) -> Contender:
    job = Job(
        registry=tmp_path,
        model="m",
        version=1,
        texts=[f"{'abcdefghij'[index % 10]}{index}" for index in range(len(lengths))],
        labels=[],
        source="test",
        token_counts=list(lengths),
        threads=1,
        folder=tmp_path,
    )
    return Contender(Upper(), job)


def test_a_part_of_the_texts_has_every_length_its_share_in_file_order(tmp_path: Path) -> None:
    lengths = [90, 10, 80, 20, 70, 30, 60, 40, 50, 100]
    taken = contender(tmp_path, lengths).take(5)["indices"]
    assert taken == sorted(taken)
    assert sorted(lengths[index] for index in taken) == [20, 40, 60, 80, 100]


def test_all_texts_are_all_texts(tmp_path: Path) -> None:
    assert contender(tmp_path, [3, 1, 2]).take(99)["indices"] == [0, 1, 2]


def test_commands_are_answered_in_order(tmp_path: Path) -> None:
    said: list[dict[str, object]] = []
    commands = [
        {"do": "take", "count": 3},
        {"do": "round"},
        {"do": "alone", "budget_s": 60, "most": 2},
        {"do": "finish"},
    ]
    answer(contender(tmp_path, [1, 2, 3]), iter(map(json.dumps, commands)), said.append)
    taken, timed, alone, end = said
    assert taken == {"indices": [0, 1, 2]}
    assert isinstance(timed["seconds"], float)
    assert alone["positions"] == [0, 1, 2]
    assert alone["labels"] == ["a", "b", "c"]
    assert end["labels"] == ["A", "B", "C"]
    assert end["padding_waste"] == 0.25, "of the round, not of texts scored alone"


def test_the_budget_ends_texts_alone_but_not_before_a_few(tmp_path: Path) -> None:
    one = contender(tmp_path, range(1, 101))
    assert len(one.alone(budget_s=0.0, most=100)["positions"]) == 20


@pytest.mark.parametrize("most", [10, 50])
def test_texts_alone_are_spread_over_the_file(tmp_path: Path, most: int) -> None:
    positions = contender(tmp_path, range(1, 101)).alone(budget_s=60, most=most)["positions"]
    assert len(positions) == most
    assert positions[-1] >= 90
