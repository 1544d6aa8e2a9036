from __future__ import annotations

import numpy as np
import pytest

from labelmill.worker.train.calibrate import Calibration
from labelmill.worker.train.evaluate import evaluate
from labelmill.worker.train.outcome import judge


def test_single_label_figures_of_a_known_case() -> None:
    scores = np.eye(3)[[0, 0, 1, 1, 0, 2]]
    found = evaluate(scores, np.array([0, 0, 1, 1, 1, 1]), ["a", "b", "c"], multi_label=False)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.confusion == [[2, 0, 0], [1, 2, 1], [0, 0, 0]]
    a, b, c = found.classes
    assert (a.precision, a.recall, a.support) == (pytest.approx(2 / 3), 1.0, 2)
    assert (b.precision, b.recall, b.support) == (1.0, 0.5, 4)
    assert (c.f1, c.support) == (0.0, 0)
    assert found.macro_f1 == pytest.approx((0.8 + 2 / 3 + 0) / 3)
    assert found.weighted_f1 == pytest.approx((0.8 * 2 + 2 / 3 * 4) / 6)
    assert found.micro_f1 == found.accuracy


def test_multi_label_figures_use_the_labels_thresholds() -> None:
    scores = np.array([[0.9, 0.4], [0.2, 0.4], [0.6, 0.1]])
    targets = np.array([[True, True], [False, True], [True, False]])
    plain = evaluate(scores, targets, ["a", "b"], multi_label=True)
    tuned = evaluate(scores, targets, ["a", "b"], multi_label=True, thresholds=[0.5, 0.3])
    assert plain.accuracy == pytest.approx(1 / 3)
    assert (tuned.accuracy, tuned.micro_f1, tuned.confusion) == (1.0, 1.0, None)


def test_what_unknown_withholds_is_counted() -> None:
    logits = np.log(np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.1, 0.9]], dtype=np.float32))
    calibration = Calibration(1.0, 0.7, None, 0.0, 0.0)
    found = judge(logits, np.array([0, 0, 1, 1]), ["a", "b"], calibration).unknown
    assert found is not None
    assert (found.coverage, found.accuracy_answered) == (0.5, 1.0)
    assert (found.withheld_right, found.withheld_wrong) == (0.25, 0.25)
