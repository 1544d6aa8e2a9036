from __future__ import annotations

import numpy as np
import pytest

from labelmill.worker.export import gates
from labelmill.worker.export.decisions import agreement, f1_drops
from labelmill.worker.export.invariance import Invariance, batch_invariance
from labelmill.worker.export.trial import Trial

CALM = Invariance(flips=0, max_abs_dlogit=0.0)


def make_trial(targets, kind="single_label"):
    return Trial([[1, 2]] * len(targets), targets, kind, threads=1)


def unlabelled(texts):
    return Trial([[1, 2]] * texts, None, "single_label", threads=1)


def random_logits(texts=1000, labels=2, seed=0):
    return np.random.default_rng(seed).normal(0, 3, (texts, labels)).astype(np.float32)


def targets_of(logits):
    return np.arange(logits.shape[1]) == logits.argmax(axis=1)[:, None]


def failed(result):
    return {gate.name for gate in result if not gate.passed}


def test_an_equal_model_passes_everything():
    logits = random_logits()
    trial = make_trial(targets_of(logits))
    fp32 = gates.fp32_gates(trial, logits, logits.copy(), CALM)
    int8 = gates.int8_gates(trial, logits, logits.copy(), CALM, size_ratio=0.26)

    assert not failed(fp32)
    assert not failed(int8)
    assert gates.failures([*fp32, *int8]) == ""
    assert [gate.name for gate in fp32 + int8] == [
        "fp32.label_agreement",
        "fp32.max_abs_dlogit",
        "fp32.macro_f1_drop",
        "fp32.batch_max_abs_dlogit",
        "int8.label_agreement",
        "int8.macro_f1_drop",
        "int8.worst_class_f1_drop",
        "int8.batch_flips",
        "int8.batch_max_abs_dlogit",
        "int8.size_ratio",
    ]


def test_one_decision_in_fifty_fails_int8():
    logits = random_logits()
    other = logits.copy()
    other[::50] = other[::50, ::-1]
    result = gates.int8_gates(make_trial(targets_of(logits)), logits, other, CALM, 0.26)

    assert {"int8.label_agreement", "int8.macro_f1_drop"} <= failed(result)
    assert "int8.label_agreement is 0.98, not at least 0.99" in gates.failures(result)


def test_the_fp32_gate_forgives_ties_and_nothing_else():
    logits = random_logits()
    logits[0] = (1.0, 1.001)
    tied = logits.copy()
    tied[0] = (1.001, 1.0)
    wrong = logits.copy()
    wrong[1] = wrong[1, ::-1]

    assert agreement(logits, tied, "single_label", tie=gates.TIE) == 1.0
    assert agreement(logits, wrong, "single_label", tie=gates.TIE) == pytest.approx(0.999)
    assert agreement(logits, tied, "single_label") == pytest.approx(0.999)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_logit_passes_no_gate_that_compares(broken):
    logits = random_logits()
    other = logits.copy()
    other[3, 0] = broken
    trial = make_trial(targets_of(logits))

    assert failed(gates.fp32_gates(trial, logits, other, CALM)) == {
        "fp32.label_agreement",
        "fp32.max_abs_dlogit",
        "fp32.macro_f1_drop",
    }
    assert failed(gates.int8_gates(trial, logits, other, CALM, 0.26)) == {
        "int8.label_agreement",
        "int8.macro_f1_drop",
        "int8.worst_class_f1_drop",
    }
    without_labels = gates.int8_gates(unlabelled(1000), logits, other, CALM, 0.26)
    assert failed(without_labels) == {"int8.label_agreement", "int8.noise"}


def test_multi_label_compares_sets_of_labels():
    logits = np.array([[1, 1, -1], [1, -1, -1]], dtype=np.float32)
    more = np.array([[1, 1, 1], [2, -1, -1]], dtype=np.float32)

    assert agreement(logits, more, "multi_label") == 0.5


def test_a_class_that_is_lost_fails_though_the_mean_hardly_falls():
    labels, texts = 50, 5000
    targets = np.eye(labels, dtype=bool)[np.arange(texts) % labels]
    logits = np.where(targets, 3.0, 0.0).astype(np.float32)
    other = logits.copy()
    other[targets[:, 0].nonzero()[0][:8]] = np.eye(labels, dtype=np.float32)[1] * 3

    macro, worst = f1_drops(logits, other, targets, "single_label")

    assert macro < 0.5
    assert worst > 3.0


def test_one_text_does_not_condemn_a_small_class():
    targets = np.eye(2, dtype=bool)[[0] * 10 + [1] * 990]
    logits = np.where(targets, 3.0, 0.0).astype(np.float32)
    other = logits.copy()
    other[0] = other[0, ::-1]

    assert f1_drops(logits, other, targets, "single_label")[1] == 0.0


class Leaking:
    """Answers by the longest row of the batch, as a model that forgets its mask does."""

    name = "leaking"

    def infer(self, token_ids):
        width = max(map(len, token_ids))
        return np.array([[len(row) - 4.5, 0.1 * width] for row in token_ids], dtype=np.float32)

    def close(self):
        pass


def test_a_model_that_sees_its_neighbours_is_found_out():
    rows = [[1] * length for length in range(1, 33)]

    found = batch_invariance(Leaking(), rows, Leaking().infer(rows), "single_label", threads=2)

    assert found.flips > 0
    assert found.max_abs_dlogit == pytest.approx(3.1)
    result = gates.int8_gates(
        make_trial(np.eye(2, dtype=bool)[[0] * 32]),
        Leaking().infer(rows),
        Leaking().infer(rows),
        found,
        0.26,
    )
    assert {"int8.batch_flips", "int8.batch_max_abs_dlogit"} <= failed(result)


def test_without_labels_noise_stands_in_for_f1():
    logits = random_logits()
    fp32 = gates.fp32_gates(unlabelled(1000), logits, logits.copy(), CALM)
    int8 = gates.int8_gates(unlabelled(1000), logits, logits.copy(), CALM, size_ratio=0.26)

    assert not failed([*fp32, *int8])
    names = [gate.name for gate in [*fp32, *int8]]
    assert "int8.noise" in names
    assert not [name for name in names if "f1" in name]


def test_noise_is_found_although_every_text_gets_the_same_label():
    logits = random_logits() * np.float32(0.1) + np.float32([30.0, 0.0])
    nothing_to_do_with_it = random_logits(seed=1) * np.float32(0.1) + np.float32([30.0, 0.0])
    slightly_off = logits + random_logits(seed=1) * np.float32(0.003)

    assert failed(gates.int8_gates(unlabelled(1000), logits, nothing_to_do_with_it, CALM, 0.2)) == {
        "int8.noise"
    }
    assert gates.noise(logits, nothing_to_do_with_it) > 1
    assert gates.noise(logits, slightly_off) == pytest.approx(0.03, rel=0.1)
    assert not failed(gates.int8_gates(unlabelled(1000), logits, slightly_off, CALM, 0.2))
