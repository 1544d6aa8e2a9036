"""Fine-tunes an encoder with the Hugging Face Trainer and keeps the best epoch's weights.

Resumes from the newest checkpoint in its folder; a run that had ended is not run again.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from labelmill.errors import InvalidArgumentError
from labelmill.training import Hyperparameters
from labelmill.worker import cpu
from labelmill.worker.engines import pad
from labelmill.worker.tokenizer import Tokenizer
from labelmill.worker.train.base import BaseModel
from labelmill.worker.train.callbacks import (
    Checkpoints,
    FrozenBackbone,
    Progress,
    Report,
    newest_checkpoint,
)
from labelmill.worker.train.evaluate import evaluate
from labelmill.worker.train.examples import Examples
from labelmill.worker.train.loss import ClassificationLoss, class_weights
from labelmill.worker.train.precision import trains_faster_in_bf16
from labelmill.worker.train.sampler import LengthGroupedSampler
from labelmill.worker.train.split import Split

#: Texts a batch when validating.
_EVALUATION_BATCH = 64

#: Losses told an epoch.
_LOGS_AN_EPOCH = 8

#: Written when fine-tuning has ended; holds a FineTuned.
_DONE_FILE = "fine-tuned.json"


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned checkpoint and how it came about."""

    #: Hugging Face directory.
    checkpoint: str
    #: Of the padding token.
    pad_token_id: int
    #: The Trainer's log: training losses by step, validation figures by epoch.
    curve: list[dict[str, float]]
    best_macro_f1: float
    steps: int
    #: Of this process; a resumed run counts from its resumption.
    seconds: float
    resumed_from_step: int
    device: str
    precision: str
    #: Training texts that are longer than max_length.
    truncated_texts: int


def fine_tune(
    base: BaseModel,
    examples: Examples,
    split: Split,
    hyper: Hyperparameters,
    folder: Path,
    report: Report,
) -> FineTuned:
    """Trains on the training split, choosing the epoch by macro-F1 on the validation split.

    Args:
        base: model to start from.
        examples: the data set.
        split: of its rows.
        hyper: settled hyper-parameters.
        folder: for checkpoints and the result.
        report: told as it goes.

    Raises:
        InvalidArgumentError: the base model cannot be loaded, or the loss became NaN.
    """
    done = folder / _DONE_FILE
    if done.is_file():
        return FineTuned(**json.loads(done.read_text("utf-8")))
    start = time.perf_counter()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(cpu.usable_cores())
    result = folder / "model"
    tokenizer = _load_tokenizer(base, result)
    rust = Tokenizer(result / "tokenizer.json", hyper.max_length)
    train_rows, truncated = _rows(rust, examples, split.train)
    validation_rows, _ = _rows(rust, examples, split.validation)
    model = _load_model(base, examples, hyper)
    cuda = torch.cuda.is_available()
    bf16 = trains_faster_in_bf16()
    checkpoints = folder / "checkpoints"
    resumable = newest_checkpoint(checkpoints)
    progress = Progress(report)
    trainer = _Trainer(
        model=model,
        args=_arguments(hyper, checkpoints, len(train_rows), cuda=cuda, bf16=bf16),
        data_collator=Collator(int(tokenizer.pad_token_id), examples.multi_label),
        train_dataset=train_rows,
        eval_dataset=validation_rows,
        processing_class=tokenizer,
        compute_loss_func=ClassificationLoss(
            class_weights(examples.targets(split.train), len(examples.labels))
            if hyper.class_weights
            else None,
            hyper.label_smoothing,
        ),
        compute_metrics=_Metrics(examples),
        callbacks=[
            progress,
            Checkpoints(),
            FrozenBackbone(hyper.freeze_backbone_epochs),
            EarlyStoppingCallback(hyper.early_stopping_patience),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(resumable) if resumable else None)
    if progress.diverged_at is not None:
        raise InvalidArgumentError.at(
            "config.learning_rate",
            f"the loss became NaN at step {progress.diverged_at}; lower the learning rate, now "
            f"{hyper.learning_rate:g}, or max_grad_norm, now {hyper.max_grad_norm:g}",
        )
    model.save_pretrained(result)
    state = trainer.state
    fine_tuned = FineTuned(
        checkpoint=str(result),
        pad_token_id=int(tokenizer.pad_token_id),
        curve=state.log_history,
        best_macro_f1=float(state.best_metric or 0.0),
        steps=state.global_step,
        seconds=time.perf_counter() - start,
        resumed_from_step=int(resumable.name.rpartition("-")[2]) if resumable else 0,
        device=torch.cuda.get_device_name() if cuda else "cpu",
        precision="bf16" if bf16 else "fp32",
        truncated_texts=truncated,
    )
    partial = done.with_suffix(".partial")
    partial.write_text(json.dumps(dataclasses.asdict(fine_tuned)), "utf-8")
    partial.rename(done)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return fine_tuned


class _Trainer(Trainer):
    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(row["input_ids"]) for row in rows]
        args = self.args
        batch_size = args.train_batch_size * args.gradient_accumulation_steps
        return LengthGroupedSampler(lengths, batch_size, args.seed)


class Collator:
    """Rows to a padded batch of tensors."""

    def __init__(self, pad_token_id: int, multi_label: bool) -> None:
        self._pad_token_id = pad_token_id
        self._dtype = torch.float32 if multi_label else torch.int64

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask`` (rows, longest), ``labels`` as the loss wants it."""
        ids, mask = pad([row["input_ids"] for row in rows], self._pad_token_id)
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": torch.tensor(np.array([row["labels"] for row in rows]), dtype=self._dtype),
        }


class _Metrics:
    def __init__(self, examples: Examples) -> None:
        self._examples = examples

    def __call__(self, prediction: Any) -> dict[str, float]:
        logits: NDArray[np.float32] = prediction.predictions
        multi_label = self._examples.multi_label
        targets = prediction.label_ids.astype(bool) if multi_label else prediction.label_ids
        # For multi-label a logit over 0 is a probability over one half.
        scores = np.where(logits > 0, 1.0, 0.0) if multi_label else logits
        figures = evaluate(scores, targets, self._examples.labels, multi_label)
        return {"accuracy": figures.accuracy, "macro_f1": figures.macro_f1}


def _load_tokenizer(base: BaseModel, result: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.folder, trust_remote_code=False)
        tokenizer.save_pretrained(result)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise InvalidArgumentError.at(
            "config.base_model", f"the tokenizer of {base.name!r} cannot be loaded: {error}"
        ) from error
    if not (result / "tokenizer.json").is_file() or tokenizer.pad_token_id is None:
        raise InvalidArgumentError.at(
            "config.base_model",
            f"the tokenizer of {base.name!r} has no tokenizer.json or no padding token; save it "
            "with a current transformers library",
        )
    return tokenizer


def _load_model(base: BaseModel, examples: Examples, hyper: Hyperparameters) -> Any:
    set_seed(hyper.seed)
    names = dict(enumerate(examples.labels))
    try:
        return AutoModelForSequenceClassification.from_pretrained(
            base.folder,
            id2label=names,
            label2id={name: i for i, name in names.items()},
            problem_type=(
                "multi_label_classification"
                if examples.multi_label
                else "single_label_classification"
            ),
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            # A base that was fine-tuned before may bring a head for other labels.
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InvalidArgumentError.at(
            "config.base_model", f"{base.name!r} cannot be loaded: {error}"
        ) from error


def _rows(
    tokenizer: Tokenizer, examples: Examples, rows: Sequence[int]
) -> tuple[list[dict[str, Any]], int]:
    tokens = tokenizer.encode(examples.texts_of(rows))
    encoded = [
        {"input_ids": text.ids, "labels": target}
        for text, target in zip(tokens, examples.targets(rows), strict=True)
    ]
    return encoded, sum(text.truncated for text in tokens)


def _arguments(
    hyper: Hyperparameters, checkpoints: Path, rows: int, *, cuda: bool, bf16: bool
) -> TrainingArguments:
    steps_an_epoch = max(1, rows // hyper.batch_size)
    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=hyper.epochs,
        learning_rate=hyper.learning_rate,
        per_device_train_batch_size=hyper.batch_size // hyper.gradient_accumulation_steps,
        gradient_accumulation_steps=hyper.gradient_accumulation_steps,
        per_device_eval_batch_size=_EVALUATION_BATCH,
        weight_decay=hyper.weight_decay,
        # Below 1 the Trainer takes it for a share of all steps.
        warmup_steps=hyper.warmup_ratio,
        max_grad_norm=hyper.max_grad_norm,
        seed=hyper.seed,
        bf16=bf16,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        # Of evaluation, too; for training see _Trainer.
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        label_names=["labels"],
        eval_strategy="epoch",
        save_strategy="best",
        load_best_model_at_end=True,
        metric_for_best_model="macro_f1",
        greater_is_better=True,
        logging_steps=max(1, steps_an_epoch // _LOGS_AN_EPOCH),
        # The Trainer would otherwise hide a NaN behind the average of earlier losses.
        logging_nan_inf_filter=False,
        log_level="error",
        disable_tqdm=True,
        report_to="none",
    )
