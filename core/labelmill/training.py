"""What a training run may be asked for: hyper-parameters, their ranges and their defaults.

Shared by the server, which refuses bad requests, and the worker, which fills in the defaults that
depend on the base model and the data. Needs no ML library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from labelmill.errors import FieldViolation, InvalidArgumentError

#: Base model that comes with the `train` extra and needs no network.
PACKAGED_BASE_MODEL = "minilm"

#: Steps of a run in order, as events name them.
Stage = Literal[
    "validate",
    "split",
    "baseline",
    "fine-tune",
    "export",
    "gates",
    "quantize",
    "calibrate",
    "evaluate",
    "report",
    "register",
]

#: Base models with at most this many parameters count as small: they learn well at 5e-5.
SMALL_MODEL_PARAMETERS = 40_000_000

#: Above this many labels the head needs the higher learning rate.
_MANY_LABELS = 20

#: Texts an optimizer step, and for small models with this many training texts and few labels.
_SMALL_BATCH, _LARGE_BATCH, _PLENTY_OF_ROWS = 16, 32, 4_000

#: Small data sets get as many epochs as make up this many optimizer steps ...
_LEAST_STEPS = 250

#: ... but never more than this many.
_MOST_DEFAULT_EPOCHS = 10

#: Evaluations without a better macro-F1 that early stopping waits for, at least, by default.
_LEAST_PATIENCE = 2


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Hyperparameters(_Frozen):
    """A training configuration with every value settled."""

    base_model: str
    epochs: float
    learning_rate: float
    batch_size: int
    gradient_accumulation_steps: int
    weight_decay: float
    warmup_ratio: float
    max_grad_norm: float
    max_length: int
    seed: int
    class_weights: bool
    label_smoothing: float
    early_stopping_patience: int
    freeze_backbone_epochs: int


class TrainingConfig(_Frozen):
    """What the user asked for; None leaves the value to `resolve`."""

    base_model: str = Field(PACKAGED_BASE_MODEL, min_length=1, max_length=1024)
    epochs: float | None = Field(None, gt=0, le=100)
    learning_rate: float | None = Field(None, gt=0, le=0.1)
    batch_size: int | None = Field(None, ge=1, le=4096)
    gradient_accumulation_steps: int = Field(1, ge=1, le=1024)
    weight_decay: float = Field(0.01, ge=0, le=1)
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    max_grad_norm: float = Field(1.0, gt=0, le=1000)
    max_length: int = Field(128, ge=8, le=512)
    seed: int = Field(42, ge=0, lt=2**32)
    class_weights: bool = False
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    early_stopping_patience: int | None = Field(None, ge=1, le=100)
    freeze_backbone_epochs: int = Field(0, ge=0, le=100)

    @model_validator(mode="after")
    def _accumulation_divides_the_batch(self) -> TrainingConfig:
        # The larger default is a multiple of the smaller one.
        batch_size = self.batch_size or _SMALL_BATCH
        if batch_size % self.gradient_accumulation_steps:
            raise ValueError(
                f"gradient_accumulation_steps: {self.gradient_accumulation_steps} does not divide "
                f"batch_size, which is {batch_size} texts over all accumulation steps"
            )
        return self

    @classmethod
    def checked(cls, values: Mapping[str, Any], field: str = "config") -> TrainingConfig:
        """A configuration from a request's fields; empty or absent ones get defaults.

        Raises:
            InvalidArgumentError: a value is out of range; violations name `field`.<name>.
        """
        given = {name: value for name, value in values.items() if value not in (None, "")}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            violations = [_violation(problem, given, field) for problem in error.errors()]
            raise InvalidArgumentError(
                "; ".join(f"{v.field}: {v.description}" for v in violations), violations=violations
            ) from error

    def resolve(self, *, parameters: int, labels: int, training_rows: int) -> Hyperparameters:
        """Fills in what depends on the base model and the data.

        Args:
            parameters: of the base model.
            labels: how many there are.
            training_rows: rows of the training split.
        """
        small = parameters <= SMALL_MODEL_PARAMETERS
        # With steps enough, small models learn two or three labels by heart after three epochs.
        plenty = small and labels <= _MANY_LABELS and training_rows >= _PLENTY_OF_ROWS
        batch_size = self.batch_size or (_LARGE_BATCH if plenty else _SMALL_BATCH)
        steps_an_epoch = max(1, math.ceil(training_rows / batch_size))
        usual = 4 if small and not plenty else 3
        enough = math.ceil(_LEAST_STEPS / steps_an_epoch)
        epochs = self.epochs or float(min(max(usual, enough), _MOST_DEFAULT_EPOCHS))
        rate = 5e-5 if small or labels > _MANY_LABELS else 2e-5
        settled = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": 2 * rate if plenty and batch_size >= _LARGE_BATCH else rate,
            # On small validation splits two epochs in a row may fall behind by chance.
            "early_stopping_patience": max(_LEAST_PATIENCE, math.ceil(epochs / 2)),
        }
        return Hyperparameters(**settled | self.model_dump(exclude_none=True))


def _violation(problem: Any, given: Mapping[str, Any], field: str) -> FieldViolation:
    if not problem["loc"]:
        name, _, description = problem["msg"].removeprefix("Value error, ").partition(": ")
        return FieldViolation(f"{field}.{name}", description)
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(TrainingConfig.model_fields)
        return FieldViolation(f"{field}.{name}", f"is no hyper-parameter; there are {known}")
    message = problem["msg"].replace("Input should", "should")
    return FieldViolation(f"{field}.{name}", f"is {given.get(name)!r}; it {message}")
