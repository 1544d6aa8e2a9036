from __future__ import annotations

import math
from typing import Any

import pytest

from labelmill.errors import InvalidArgumentError
from labelmill.training import TrainingConfig

SMALL, LARGE = 22_000_000, 110_000_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 101),
        ("epochs", math.nan),
        ("learning_rate", 0),
        ("learning_rate", 1),
        ("batch_size", 0),
        ("gradient_accumulation_steps", -1),
        ("weight_decay", -0.1),
        ("warmup_ratio", 1),
        ("max_grad_norm", 0),
        ("max_length", 7),
        ("max_length", 513),
        ("seed", -1),
        ("label_smoothing", 1),
        ("early_stopping_patience", 0),
        ("freeze_backbone_epochs", -1),
        ("learning_rat", 1e-5),
    ],
)
def test_values_out_of_range_are_refused_by_field(name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        TrainingConfig.checked({name: value})
    assert [v.field for v in raised.value.violations] == [f"config.{name}"]


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        TrainingConfig.checked({"epochs": -1, "seed": -1}, field="request.config")
    fields = [v.field for v in raised.value.violations]
    assert fields == ["request.config.epochs", "request.config.seed"]


def test_accumulation_must_divide_the_batch() -> None:
    with pytest.raises(InvalidArgumentError, match="3 does not divide batch_size") as raised:
        TrainingConfig.checked({"batch_size": 16, "gradient_accumulation_steps": 3})
    assert raised.value.violations[0].field == "config.gradient_accumulation_steps"


def test_unset_fields_take_defaults() -> None:
    assert TrainingConfig.checked({"epochs": None, "base_model": ""}) == TrainingConfig()


def test_defaults_follow_the_base_model_and_the_labels() -> None:
    def settle(parameters: int, labels: int, rows: int = 100_000) -> tuple[float, float, int]:
        hyper = TrainingConfig().resolve(parameters=parameters, labels=labels, training_rows=rows)
        return hyper.learning_rate, hyper.epochs, hyper.batch_size

    assert settle(SMALL, 2) == (1e-4, 3, 32)
    assert settle(SMALL, 2, rows=3_000) == (5e-5, 4, 16)
    assert settle(SMALL, 21) == (5e-5, 4, 16)
    assert settle(LARGE, 2) == (2e-5, 3, 16)
    assert settle(LARGE, 21) == (5e-5, 3, 16)


def test_a_batch_that_was_asked_for_keeps_its_learning_rate() -> None:
    asked = TrainingConfig.checked({"batch_size": 16})
    hyper = asked.resolve(parameters=SMALL, labels=2, training_rows=100_000)
    assert (hyper.batch_size, hyper.learning_rate) == (16, 5e-5)


def test_small_data_sets_get_more_epochs_but_what_was_asked_for_stays() -> None:
    sizes = [10, 500, 2_000, 50_000]
    epochs = [
        TrainingConfig().resolve(parameters=SMALL, labels=2, training_rows=n).epochs for n in sizes
    ]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] > epochs[-1] == 3
    assert TrainingConfig().resolve(
        parameters=SMALL, labels=2, training_rows=10
    ).early_stopping_patience == math.ceil(epochs[0] / 2)
    asked = TrainingConfig.checked({"epochs": 1.5, "learning_rate": 1e-4})
    hyper = asked.resolve(parameters=SMALL, labels=2, training_rows=10)
    assert (hyper.epochs, hyper.learning_rate) == (1.5, 1e-4)
