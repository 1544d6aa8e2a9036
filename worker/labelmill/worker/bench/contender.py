"""`python -m labelmill.worker.bench.contender NAME JOB_FILE`: one contender in its own process.

Speaks JSON lines. After loading it says ``{"ready": ...}``, then answers each command on stdin:

    {"do": "probe"}                          → {"texts", "seconds"}   also warms it up
    {"do": "take", "count": n}               → {"indices"}            the texts of later rounds
    {"do": "round"}                          → {"seconds"}            text in, label out
    {"do": "alone", "budget_s", "most"}      → {"positions", "labels", "milliseconds"}
    {"do": "finish"}                         → {"labels", "peak_bytes", "padding_waste"}

An error that is labelmill's own is ``{"error": {"reason", "message"}}``, and the process ends.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from labelmill.errors import LabelmillError
from labelmill.worker.bench.job import Job
from labelmill.worker.bench.predictor import Predictor, open_predictor

#: Texts of the probe: two batches of 32, spread over all lengths.
_PROBE_TEXTS = 64

#: Fewest texts scored alone, whatever the budget, where there are as many.
_LEAST_ALONE = 20


class Contender:
    """The commands, on a loaded predictor.

    Args:
        predictor: what is measured.
        job: the run.
    """

    def __init__(self, predictor: Predictor, job: Job) -> None:
        self._predictor = predictor
        self._all = job.texts
        self._order = sorted(range(len(job.texts)), key=lambda index: job.token_counts[index])
        self._texts = job.texts
        self._labels: list[str] = []
        self._padding_waste: float | None = None

    def probe(self) -> dict[str, Any]:
        """Scores a few texts twice; the second time counts."""
        texts = [self._all[index] for index in self._spread(_PROBE_TEXTS)]
        self._predictor.predict(texts)
        return {"texts": len(texts), "seconds": self._timed(texts)[1]}

    def take(self, count: int) -> dict[str, Any]:
        """Keeps `count` texts, spread evenly over all lengths, in file order."""
        indices = self._spread(count)
        self._texts = [self._all[index] for index in indices]
        return {"indices": indices}

    def round(self) -> dict[str, Any]:
        """Scores every text taken."""
        self._labels, seconds = self._timed(self._texts)
        self._padding_waste = self._predictor.padding_waste
        return {"seconds": seconds}

    def alone(self, budget_s: float, most: int) -> dict[str, Any]:
        """Scores texts one by one, spread over the file, until the budget is used up."""
        step = max(1, len(self._texts) // most)
        positions: list[int] = []
        labels: list[str] = []
        milliseconds: list[float] = []
        started = time.perf_counter()
        for position in range(0, len(self._texts), step):
            spent = time.perf_counter() - started
            if spent > budget_s and len(positions) >= _LEAST_ALONE:
                break
            (label,), seconds = self._timed([self._texts[position]])
            positions.append(position)
            labels.append(label)
            milliseconds.append(seconds * 1000)
        return {"positions": positions, "labels": labels, "milliseconds": milliseconds}

    def finish(self) -> dict[str, Any]:
        """Labels and padding of the last round, and the most memory the process held."""
        return {
            "labels": self._labels,
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "padding_waste": self._padding_waste,
        }

    def _timed(self, texts: list[str]) -> tuple[list[str], float]:
        started = time.perf_counter()
        labels = self._predictor.predict(texts)
        return labels, time.perf_counter() - started

    def _spread(self, count: int) -> list[int]:
        """`count` indices in file order whose lengths are distributed as all lengths are."""
        count = min(count, len(self._order))
        stride = len(self._order) / count
        return sorted(self._order[int(stride * (rank + 0.5))] for rank in range(count))


def answer(contender: Contender, commands: Iterator[str], say: Callable[[Any], None]) -> None:
    """Answers commands until they end."""
    for line in commands:
        command = json.loads(line)
        say(getattr(contender, command.pop("do"))(**command))


def _protocol() -> TextIO:
    """The pipe to answer on; what libraries print to stdout goes to stderr from here on."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe


def _pin(threads: int) -> None:
    """Keeps the whole process, whatever threads its libraries start, on `threads` cores."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:threads])


def main() -> int:
    """Returns the exit code."""
    name, job_file = sys.argv[1:]
    pipe = _protocol()

    def say(answered: Any) -> None:
        pipe.write(json.dumps(answered) + "\n")
        pipe.flush()

    try:
        job = Job.read(Path(job_file))
        _pin(job.threads)
        predictor = open_predictor(name, job)
        say({"ready": True, "file_bytes": predictor.file_bytes})
        answer(Contender(predictor, job), sys.stdin, say)
    except LabelmillError as error:
        say({"error": {"reason": error.reason, "message": error.message}})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
