"""What a run tells about itself while it goes, and how far each step takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, get_args

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

#: Share of the run that is done when a step begins. Shares of time, measured on small data sets;
#: on large ones fine-tuning takes more.
_BEGINS: dict[Stage, float] = {
    "validate": 0.0,
    "split": 0.01,
    "baseline": 0.02,
    "fine-tune": 0.04,
    "export": 0.55,
    "quantize": 0.65,
    "gates": 0.9,
    "calibrate": 0.95,
    "evaluate": 0.96,
    "report": 0.98,
    "register": 0.99,
}


class Notifier:
    """Turns "this step, this far" into events, and keeps the warnings for the report."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
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
        self._listener(Event(stage, _progress(stage, done), message, metrics=metrics or {}))

    def warn(self, stage: Stage, message: str, *, done: float = 0.0) -> None:
        """Tells something that asks for attention; the report will repeat it."""
        self.warnings.append(message)
        self._listener(Event(stage, _progress(stage, done), message, warning=True))


def _progress(stage: Stage, done: float) -> float:
    stages = get_args(Stage)
    following = stages[stages.index(stage) + 1 :]
    end = _BEGINS[following[0]] if following else 1.0
    return _BEGINS[stage] + done * (end - _BEGINS[stage])
