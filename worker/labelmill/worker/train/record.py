"""What the steps of a run hand to one another, and to the report in the end."""

from __future__ import annotations

from dataclasses import dataclass

from labelmill.registry.dataset_check import DatasetMeta
from labelmill.training import Hyperparameters
from labelmill.worker.export.request import ExportResult
from labelmill.worker.train.base import BaseModel
from labelmill.worker.train.baseline import Baseline
from labelmill.worker.train.calibrate import Calibration
from labelmill.worker.train.examples import Examples
from labelmill.worker.train.finetune import FineTuned
from labelmill.worker.train.outcome import Outcome
from labelmill.worker.train.split import Split


@dataclass(frozen=True)
class Prepared:
    """All that is settled before anything is trained."""

    meta: DatasetMeta
    base: BaseModel
    examples: Examples
    split: Split
    hyper: Hyperparameters


@dataclass(frozen=True)
class GateTexts:
    """Rows that an export is judged on: validation, then test, then training where needed."""

    rows: list[int]
    validation: slice
    test: slice
    #: In words.
    source: str


@dataclass(frozen=True)
class Finished:
    """A run whose model is proven but not yet registered."""

    model: str
    prepared: Prepared
    baseline: Baseline
    fine_tuned: FineTuned
    gate_texts: GateTexts
    exported: ExportResult
    calibration: Calibration
    fp32: Outcome
    #: None when INT8 was not published.
    int8: Outcome | None
    warnings: list[str]
    #: By step.
    seconds: dict[str, float]

    @property
    def served(self) -> Outcome:
        """What the default engine does on the test split."""
        return self.int8 or self.fp32
