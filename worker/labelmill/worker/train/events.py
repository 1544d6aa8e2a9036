"""What a run tells about itself while it goes, and how far each step takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from labelmill.training import Stage


class Event(NamedTuple):
    """One thing to tell."""

    stage: str
    #: Share of the whole run that is done, in [0, 1].
    progress: float
    #: One sentence for a person.
    message: str
    #: Whether the message asks for attention.
    warning: bool = False
    #: Named figures, e.g. ``loss``.
    metrics: Mapping[str, float] = {}


#: Called with each event, from the thread that trains.
Listener = Callable[[Event], None]

#: Shares of a training run that are done when a step begins and ends. Shares of time, measured on
#: small data sets; on large ones fine-tuning takes more. Gates come twice, before and after
#: quantizing.
TRAINING_SPANS: dict[Stage, tuple[float, float]] = {
    "validate": (0.0, 0.01),
    "split": (0.01, 0.02),
    "baseline": (0.02, 0.04),
    "fine-tune": (0.04, 0.6),
    "export": (0.6, 0.68),
    "gates": (0.68, 0.7),
    "quantize": (0.7, 0.95),
    "calibrate": (0.95, 0.96),
    "evaluate": (0.96, 0.98),
    "report": (0.98, 0.99),
    "register": (0.99, 1.0),
}


class Notifier:
    """Turns "this step, this far" into events, and keeps the warnings for the report.

    Args:
        listener: is told the events.
        spans: shares of the run that are done when each of its steps begins and ends.
    """

    def __init__(
        self, listener: Listener, spans: Mapping[Stage, tuple[float, float]] = TRAINING_SPANS
    ) -> None:
        self._listener = listener
        self._spans = spans
        self._progress = 0.0
        self.warnings: list[str] = []

    def tell(
        self,
        stage: Stage,
        message: str,
        *,
        done: float = 0.0,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Tells `message`; `done` is the share of this step that is done, in [0, 1]."""
        self._listener(Event(stage, self._advance(stage, done), message, metrics=metrics or {}))

    def warn(self, stage: Stage, message: str, *, done: float = 0.0) -> None:
        """Tells something that asks for attention; the report will repeat it."""
        self.warnings.append(message)
        self._listener(Event(stage, self._advance(stage, done), message, warning=True))

    def _advance(self, stage: Stage, done: float) -> float:
        begin, end = self._spans[stage]
        self._progress = max(self._progress, begin + done * (end - begin))
        return self._progress
