from __future__ import annotations

from labelmill.training import Hyperparameters, TrainingConfig
from labelmill.worker.train.diagnose import diagnose_curve, diagnose_result
from labelmill.worker.train.evaluate import ClassScores, Evaluation


def hyper() -> Hyperparameters:
    return TrainingConfig().resolve(parameters=1, labels=2, training_rows=1000)


def curve(losses: list[float], validation: list[float]) -> list[dict[str, float]]:
    steps = [{"loss": loss} for loss in losses]
    epochs = [
        {"eval_loss": loss, "eval_macro_f1": 1 - loss, "epoch": float(i)}
        for i, loss in enumerate(validation, 1)
    ]
    return [*steps, *epochs]


def evaluation(macro_f1: float, confusion: list[list[int]]) -> Evaluation:
    classes = [ClassScores(name, 0.5, 0.5, 0.5, 5) for name in ("no", "yes")]
    return Evaluation(0.5, macro_f1, macro_f1, 0.5, classes, confusion, 10)


GOOD = evaluation(0.9, [[5, 0], [1, 4]])


def test_a_healthy_run_needs_no_words() -> None:
    falling = [0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.3, 0.25]
    assert diagnose_curve(curve(falling, [0.5, 0.4, 0.38]), hyper()) == []
    assert diagnose_result(GOOD, evaluation(0.7, GOOD.confusion or []), hyper(), 10, "cpu") == []


def test_a_loss_that_does_not_fall_is_told_with_the_remedy() -> None:
    (words,) = diagnose_curve(curve([0.69] * 8, [0.69, 0.69]), hyper())
    assert "hardly fell" in words
    assert "higher learning rate" in words


def test_learning_by_heart_is_told_with_the_epoch_that_is_used() -> None:
    losses = [0.7, 0.6, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01]
    (words,) = diagnose_curve(curve(losses, [0.5, 0.4, 0.7]), hyper())
    assert "by heart" in words
    assert "epoch 2" in words


def test_one_class_only_and_a_better_baseline_are_told() -> None:
    stuck = evaluation(0.33, [[5, 0], [5, 0]])
    one_class, beaten = diagnose_result(stuck, GOOD, hyper(), 10, "cpu")
    assert "label 'no'" in one_class
    assert "does not beat TF-IDF" in beaten


def test_slow_training_is_told_on_cpu_only() -> None:
    weak = evaluation(0.1, GOOD.confusion or [])
    assert "GPU" in diagnose_result(GOOD, weak, hyper(), 4000, "cpu")[0]
    assert diagnose_result(GOOD, weak, hyper(), 4000, "NVIDIA H200") == []
