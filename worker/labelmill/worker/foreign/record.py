"""What the steps of an import hand to one another, and to the report in the end."""

from __future__ import annotations

from dataclasses import dataclass

from labelmill.worker.export.request import ExportResult
from labelmill.worker.foreign.normal import Normal
from labelmill.worker.foreign.request import ImportRequest
from labelmill.worker.foreign.sample import Sample
from labelmill.worker.foreign.source import Source
from labelmill.worker.train.calibrate import Calibration
from labelmill.worker.train.outcome import Outcome


@dataclass(frozen=True)
class Judged:
    """What labelled texts say."""

    calibration: Calibration
    fp32: Outcome
    #: None when INT8 was not published.
    int8: Outcome | None


@dataclass(frozen=True)
class Imported:
    """A checkpoint that is proven but not yet registered."""

    request: ImportRequest
    source: Source
    normal: Normal
    sample: Sample
    exported: ExportResult
    #: None where no labels are known.
    judged: Judged | None
    warnings: list[str]
    #: By step.
    seconds: dict[str, float]
