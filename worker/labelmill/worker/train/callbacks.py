"""What happens between the steps of fine-tuning: telling, checkpoints, the frozen backbone."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

#: Seconds of work that a crash may cost: checkpoints that can be resumed are this far apart. Each
#: is three times as large as the model, so that writing one an epoch would cost more on small data.
CHECKPOINT_EVERY_S = 60.0

#: What a complete, resumable checkpoint holds; the Trainer writes the latter last.
_OPTIMIZER, _STATE = "optimizer.pt", "trainer_state.json"

#: ``report(message, share done, figures)``.
Report = Callable[[str, float, Mapping[str, float]], None]


class Progress(TrainerCallback):
    """Tells loss and figures as they come, and stops a run whose loss is no number any more."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._start = time.perf_counter()
        self._first_step = 0
        #: Step at which the loss became NaN or infinite.
        self.diverged_at: int | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Starts the clock."""
        self._start, self._first_step = time.perf_counter(), state.global_step

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Reports a training loss, or the figures of an epoch."""
        logs: Mapping[str, float] = kwargs["logs"]
        if "loss" in logs and not math.isfinite(logs["loss"]):
            self.diverged_at = state.global_step
            control.should_training_stop = True
            return
        figures = {"step": float(state.global_step), "steps": float(state.max_steps)}
        figures["epoch"] = float(state.epoch or 0.0)
        seconds = time.perf_counter() - self._start
        steps = state.global_step - self._first_step
        if steps:
            figures["seconds_left"] = seconds / steps * (state.max_steps - state.global_step)
        figures |= {
            name: float(logs[name])
            for name in ("loss", "learning_rate", "eval_loss", "eval_macro_f1", "eval_accuracy")
            if name in logs
        }
        done = state.global_step / max(1, state.max_steps)
        if "eval_macro_f1" in logs:
            message = (
                f"epoch {figures['epoch']:g}: validation loss {logs['eval_loss']:.3f}, "
                f"accuracy {logs['eval_accuracy']:.3f}, macro-F1 {logs['eval_macro_f1']:.3f}"
            )
            self._report(message, done, figures)
        elif "loss" in logs:
            message = f"step {state.global_step} of {state.max_steps}: loss {logs['loss']:.3f}"
            self._report(message, done, figures)


class Checkpoints(TrainerCallback):
    """Adds resumable checkpoints, in time steps, to the Trainer's best ones, and drops the rest."""

    def __init__(self) -> None:
        self._every_s = CHECKPOINT_EVERY_S
        self._last = time.monotonic()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Asks for a checkpoint with the optimizer's state when one is due."""
        due = time.monotonic() - self._last >= self._every_s
        # An epoch's best checkpoint, if it comes to one, is as good.
        args.save_only_model = not due
        # Saved before the evaluation that follows it, an epoch's last step would lose that one.
        ends_epoch = float(state.epoch or 0.0).is_integer()
        if due and not ends_epoch and state.global_step < state.max_steps:
            control.should_save = True

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Keeps the best checkpoint and the newest that can be resumed."""
        if not args.save_only_model:
            self._last = time.monotonic()
        folder = Path(str(args.output_dir))
        kept = {newest_checkpoint(folder)}
        if state.best_model_checkpoint:
            kept.add(Path(state.best_model_checkpoint))
        for checkpoint in folder.glob("checkpoint-*"):
            if checkpoint not in kept:
                shutil.rmtree(checkpoint)


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to resume from; None when there is none that is complete."""
    complete = [
        path
        for path in folder.glob("checkpoint-*")
        if (path / _OPTIMIZER).is_file() and (path / _STATE).is_file()
    ]
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


class FrozenBackbone(TrainerCallback):
    """Trains the head alone for the first epochs."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def on_epoch_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,
    ) -> None:
        """Freezes or thaws; the optimizer skips parameters without a gradient."""
        thawed = round(state.epoch or 0.0) >= self._epochs
        backbone: torch.nn.Module = kwargs["model"].base_model
        for name, parameter in backbone.named_parameters():
            # The pooler belongs to the head: many base models come without a trained one.
            parameter.requires_grad_(thawed or name.startswith("pooler"))
