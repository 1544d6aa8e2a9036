from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from labelmill.registry import Manifest
from labelmill.v1.classification_pb2 import ScoringOptions
from labelmill.worker.decide import decide, probabilities


def manifest(**changes: Any) -> Manifest:
    return Manifest(
        base_model="b",
        architecture="bert",
        labels=["bad", "fair", "good"],
        max_length=16,
        pad_token_id=0,
        engines=["onnx-fp32"],
        model="m",
        version=1,
        created_at=datetime.now(UTC),
        artifacts={},
        **changes,
    )


LOGITS = np.array([[0.0, 1.0, 3.0], [2.0, 1.9, 1.8]], dtype=np.float32)


def test_the_best_label_comes_first_and_scores_sum_to_one() -> None:
    results = decide(LOGITS, manifest(), ScoringOptions())
    assert [result.label for result in results] == ["good", "bad"]
    assert [score.label for score in results[0].scores] == ["good", "fair", "bad"]
    assert sum(score.score for score in results[0].scores) == pytest.approx(1)
    assert results[0].score == results[0].scores[0].score


def test_a_score_below_the_threshold_is_unknown_but_still_reported() -> None:
    results = decide(LOGITS, manifest(threshold=0.5), ScoringOptions())
    assert [result.label for result in results] == ["good", "UNKNOWN"]
    assert results[1].scores[0].label == "bad"
    assert results[1].score == pytest.approx(results[1].scores[0].score)


def test_the_caller_may_switch_unknown_off_or_set_it() -> None:
    off = decide(LOGITS, manifest(threshold=0.5), ScoringOptions(threshold=0.0))
    assert off[1].label == "bad"
    strict = decide(LOGITS, manifest(), ScoringOptions(threshold=0.99))
    assert strict[0].label == "UNKNOWN"


def test_top_k_keeps_the_best() -> None:
    results = decide(LOGITS, manifest(), ScoringOptions(top_k=1))
    assert [len(result.scores) for result in results] == [1, 1]


def test_temperature_softens_scores_and_keeps_the_order() -> None:
    plain, soft = (probabilities(LOGITS, manifest(temperature=t)) for t in (1.0, 4.0))
    assert soft.max() < plain.max()
    assert (soft.argsort(axis=1) == plain.argsort(axis=1)).all()


def test_multi_label_joins_every_label_over_its_threshold() -> None:
    logits = np.array([[5.0, -5.0, 5.0], [-5.0, -5.0, -5.0]], dtype=np.float32)
    results = decide(logits, manifest(problem_type="multi_label"), ScoringOptions())
    assert [result.label for result in results] == ["bad|good", "UNKNOWN"]
    strict = manifest(problem_type="multi_label", label_thresholds=[0.5, 0.5, 0.999])
    assert decide(logits, strict, ScoringOptions())[0].label == "bad"


def test_huge_logits_stay_finite() -> None:
    logits = np.array([[1e4, -1e4, 0.0]], dtype=np.float32)
    for kind in ("single_label", "multi_label"):
        scores = probabilities(logits, manifest(problem_type=kind))
        assert np.isfinite(scores).all()
