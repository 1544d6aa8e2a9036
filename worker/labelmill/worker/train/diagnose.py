"""Says in words what a training curve shows, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from labelmill.training import Hyperparameters
from labelmill.worker.train.evaluate import Evaluation

#: The loss of the last quarter over that of the first: above it, hardly anything was learnt.
_STUCK_RATIO = 0.95

#: The validation loss over its least value: above it, the last epochs learnt by heart.
_OVERFIT_RATIO = 1.3

#: Fine-tuning longer than this on CPU deserves a hint, in seconds.
_SLOW_S = 1800.0


def diagnose_curve(curve: Sequence[dict[str, float]], hyper: Hyperparameters) -> list[str]:
    """What the course of the losses shows.

    Args:
        curve: the Trainer's log: ``loss`` by step, ``eval_loss`` and ``eval_macro_f1`` by epoch.
        hyper: what it was trained with.
    """
    losses = [entry["loss"] for entry in curve if "loss" in entry]
    epochs = [entry for entry in curve if "eval_loss" in entry]
    found = []
    quarter = len(losses) // 4
    if quarter:
        first, last = _mean(losses[:quarter]), _mean(losses[-quarter:])
        if last > _STUCK_RATIO * first:
            found.append(
                f"The training loss hardly fell ({first:.3f} to {last:.3f}): the model learnt "
                f"little. Try a higher learning rate (now {hyper.learning_rate:g}) or more epochs "
                f"(now {hyper.epochs:g}), and look whether the labels fit the texts."
            )
    if len(epochs) > 1 and losses:
        least, final = min(entry["eval_loss"] for entry in epochs), epochs[-1]["eval_loss"]
        if final > _OVERFIT_RATIO * least and _mean(losses[-max(1, quarter) :]) < least:
            best = max(epochs, key=lambda entry: entry["eval_macro_f1"])
            found.append(
                f"The validation loss rose from {least:.3f} to {final:.3f} while the training loss "
                "fell: the last epochs learnt the training texts by heart. The weights of epoch "
                f"{best['epoch']:g}, the best by macro-F1, are used; more data or label_smoothing "
                "would help."
            )
    return found


def diagnose_result(
    model: Evaluation, baseline: Evaluation, hyper: Hyperparameters, seconds: float, device: str
) -> list[str]:
    """What the test figures show beside the baseline's, and whether training was slow."""
    found = []
    if model.confusion is not None:
        given = [sum(column) for column in zip(*model.confusion, strict=True)]
        used = [entry.label for entry, n in zip(model.classes, given, strict=True) if n]
        if len(used) == 1:
            found.append(
                f"Every test text got the label {used[0]!r}: the model learnt nothing but the most "
                "frequent class. Try class_weights, a higher learning rate or more data."
            )
    if model.macro_f1 <= baseline.macro_f1:
        found.append(
            f"The model (macro-F1 {model.macro_f1:.3f}) does not beat TF-IDF with logistic "
            f"regression ({baseline.macro_f1:.3f}): do not deploy it for its accuracy. Add data, "
            f"train longer than {hyper.epochs:g} epochs or try another base_model."
        )
    if device == "cpu" and seconds > _SLOW_S:
        found.append(
            f"Fine-tuning took {seconds / 60:.0f} minutes on the CPU: use a GPU worker, a smaller "
            f"base_model such as minilm, or a max_length below {hyper.max_length}."
        )
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
