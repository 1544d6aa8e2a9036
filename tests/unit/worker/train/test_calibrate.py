from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelmill.worker.train.calibrate import (
    calibrate,
    expected_calibration_error,
    negative_log_likelihood,
    probabilities,
)


def overconfident(seed: int, texts: int = 400, scale: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits `scale` times as sure as they may be, and targets drawn from the honest ones."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, (texts, 3))
    shares = probabilities(honest.astype(np.float32), 1.0, multi_label=False)
    targets = np.array([rng.choice(3, p=row) for row in shares])
    return (honest * scale).astype(np.float32), targets


@given(st.integers(0, 1000), st.floats(2.0, 8.0))
@settings(max_examples=20, deadline=None)
def test_temperature_undoes_overconfidence(seed: int, scale: float) -> None:
    logits, targets = overconfident(seed, scale=scale)
    found = calibrate(logits, targets)
    assert found.temperature == pytest.approx(scale, rel=0.35)
    assert found.validation_nll_after < found.validation_nll_before
    fresh, fresh_targets = overconfident(seed + 1, scale=scale)
    before = probabilities(fresh, 1.0, multi_label=False)
    after = probabilities(fresh, found.temperature, multi_label=False)
    assert expected_calibration_error(after, fresh_targets) < expected_calibration_error(
        before, fresh_targets
    )


def test_a_temperature_that_does_not_help_is_not_kept() -> None:
    rng = np.random.default_rng(0)
    logits = np.zeros((100, 2), dtype=np.float32)
    found = calibrate(logits, rng.integers(0, 2, 100))
    assert found.temperature == 1.0


def test_the_threshold_withholds_at_most_three_percent_of_the_right_answers() -> None:
    logits, targets = overconfident(3, texts=1000)
    found = calibrate(logits, targets)
    scores = probabilities(logits, found.temperature, multi_label=False)
    right = scores.argmax(axis=1) == targets
    withheld = scores.max(axis=1) < found.threshold
    assert (right & withheld).sum() <= 0.03 * right.sum()
    assert (~right & withheld).sum() > (right & withheld).sum()


def test_a_text_in_doubt_comes_out_below_the_threshold() -> None:
    """Two labels that can be told apart: a score near one half is no answer."""
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 2, 200)
    logits = np.where(np.arange(2) == targets[:, None], 3.0, -3.0) + rng.normal(0, 1, (200, 2))
    found = calibrate(logits.astype(np.float32), targets)
    assert 0.5 < found.threshold < 1.0


def test_a_model_that_is_never_right_withholds_nothing() -> None:
    logits = np.tile(np.array([1.0, 0.0], dtype=np.float32), (10, 1))
    assert calibrate(logits, np.ones(10, dtype=np.int64)).threshold == 0.0


def test_labels_of_their_own_get_thresholds_where_there_is_enough_to_tell() -> None:
    rng = np.random.default_rng(2)
    targets = np.stack([rng.random(500) < 0.3, np.arange(500) < 4], axis=1)
    # The first label's logits sit too low, so that one half would miss most of it.
    logits = np.where(targets, -1.0, -4.0) + rng.normal(0, 0.7, (500, 2))
    found = calibrate(logits.astype(np.float32), targets)
    assert found.label_thresholds is not None
    assert found.label_thresholds[0] < 0.5
    assert found.label_thresholds[1] == 0.5
    assert found.threshold == 0.0


def test_expected_calibration_error_of_a_known_case() -> None:
    scores = np.array([[0.9, 0.1]] * 10)
    targets = np.array([0] * 5 + [1] * 5)
    assert expected_calibration_error(scores, targets) == pytest.approx(0.4)


def test_loss_of_a_known_case() -> None:
    logits = np.log(np.array([[0.8, 0.2], [0.5, 0.5]], dtype=np.float32))
    nll = negative_log_likelihood(logits, np.array([0, 1]), 1.0)
    assert nll == pytest.approx(-(np.log(0.8) + np.log(0.5)) / 2, rel=1e-6)
