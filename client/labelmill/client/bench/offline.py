"""`bench offline`: contenders on the same texts and threads, in turn, each in its own process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any

from labelmill.client.bench.figures import Raw, Run, figures
from labelmill.client.bench.process import Contender, run_module
from labelmill.errors import (
    EngineUnavailableError,
    FailedPreconditionError,
    InvalidArgumentError,
    LabelmillError,
)
from labelmill.names import engine_choices

#: What others do.
BASELINES = ("hf-pipeline-fp32", "hf-pipeline-bf16", "ort-fp32", "ort-dynamic-int8")

#: What labelmill does.
ENGINES = ("onnx-fp32", "onnx-int8", "openvino-int8", "torch-fp32", "torch-bf16")

#: Contenders whose labels the others are compared with, best first.
_REFERENCES = ("hf-pipeline-fp32", "torch-fp32", "onnx-fp32", "ort-fp32")

#: Fewest texts of a contender that is too slow to score all of them in the budget.
_LEAST_TEXTS = 200

#: Most texts scored alone.
_MOST_ALONE = 2_000


@dataclass(frozen=True)
class Offline:
    """What to compare, and on what."""

    model: str
    registry: Path
    contenders: Sequence[str]
    data: Path | None = None
    #: Texts when there is no `data` and the version has no test split.
    fallback: Path | None = None
    text_column: str = "text"
    label_column: str = "label"
    limit: int | None = None
    threads: int = 2
    rounds: int = 3
    #: Seconds that one round of one contender may take; slower ones score a part of the texts.
    round_budget_s: float = 30.0
    #: Seconds for each contender's texts scored alone.
    alone_budget_s: float = 8.0
    #: Of the Redis that holds aliases; None takes the newest version for a bare name.
    redis_url: str | None = None


def choose(engines: str | None, contenders: str | None) -> tuple[str, ...]:
    """Contenders for ``--engines a,b`` and ``--contenders a,b``.

    Without either: all. `engines` keeps the baselines and limits labelmill's own; `contenders`
    names exactly those that run.

    Raises:
        InvalidArgumentError: an unknown name, or both are given.
    """
    known = (*BASELINES, *ENGINES)
    if engines and contenders:
        raise InvalidArgumentError.at("engines", "is given with contenders; give one of them")
    if contenders:
        names = tuple(dict.fromkeys(_split(contenders)))
        for name in names:
            if name not in known:
                raise InvalidArgumentError.at(
                    "contenders", f"{name!r} is none of {', '.join(known)}"
                )
        return names
    if engines:
        own = [name for engine in _split(engines) for name in engine_choices(engine, "engines")]
        return (*BASELINES, *dict.fromkeys(own))
    return known


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def run(options: Offline, notify: Callable[[str], None]) -> dict[str, Any]:
    """Runs the comparison and returns what ``--json`` prints.

    Args:
        options: what to compare.
        notify: is told, in a few words, what happens next.

    Raises:
        ModelNotFoundError: there is no such model, alias or version.
        ArtifactCorruptError: one of the version's files is missing or altered.
        InvalidArgumentError: a bad option, or no texts.
        FailedPreconditionError: no contender can run here.
    """
    with tempfile.TemporaryDirectory(prefix="labelmill-bench-") as folder:
        return _Comparison(options, Path(folder), notify).run()


class _Comparison:
    def __init__(self, options: Offline, folder: Path, notify: Callable[[str], None]) -> None:
        self._options = options
        self._folder = folder
        self._notify = notify
        self._job_file = folder / "job.json"
        self._skipped: list[dict[str, str]] = []
        self._exported = False

    def run(self) -> dict[str, Any]:
        options = self._options
        measured_at, started = datetime.now(UTC), time.monotonic()
        self._notify("reading the texts and checking the version's files")
        job = self._prepare()
        with ExitStack() as open_contenders:
            contenders = self._open(job, open_contenders)
            raws, ceiling = self._measure(contenders, job["texts"])
        reference = next((raw for name in _REFERENCES for raw in raws if raw.name == name), None)
        run = Run(job["labels"], job["token_counts"], job["macs_per_token"], ceiling)
        rows = [figures(raw, run, reference) for raw in raws]
        return {
            "benchmark": "offline",
            "model": job["model"],
            "version": job["version"],
            "measured_at": measured_at.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 1),
            "host": job["host"],
            "threads": options.threads,
            "rounds": options.rounds,
            "texts": job["texts"],
            "source": job["source"],
            "tokens": {
                "mean": round(fmean(job["token_counts"]), 1),
                "median": median(job["token_counts"]),
                "max": max(job["token_counts"]),
            },
            "macs_per_token": job["macs_per_token"],
            "ceiling_macs_per_second": ceiling,
            "reference": reference.name if reference else None,
            "contenders": [row.to_json() for row in rows],
            "skipped": self._skipped,
        }

    def _prepare(self) -> dict[str, Any]:
        options = self._options
        arguments = [
            *("--registry", str(options.registry), "--model", options.model),
            *("--threads", str(options.threads), "--out", str(self._folder)),
            *("--text-column", options.text_column, "--label-column", options.label_column),
        ]
        if options.limit is not None:
            arguments += ["--limit", str(options.limit)]
        for flag, value in (
            ("--data", options.data),
            ("--fallback", options.fallback),
            ("--redis-url", options.redis_url),
        ):
            if value:
                arguments += [flag, str(value)]
        return self._module("prepare", arguments)

    def _module(self, name: str, arguments: Sequence[str]) -> dict[str, Any]:
        module = f"labelmill.worker.bench.{name}"
        return run_module(module, arguments, self._options.threads, self._folder / f"{name}.log")

    def _open(self, job: dict[str, Any], stack: ExitStack) -> list[Contender]:
        opened = []
        for name in self._options.contenders:
            if reason := job["unavailable"].get(name):
                self._skip(name, reason)
                continue
            self._notify(f"loading {name}")
            try:
                self._make_files_of(name)
                log = self._folder / f"{name}.log"
                contender = Contender(name, self._job_file, self._options.threads, log)
            except EngineUnavailableError as error:
                self._skip(name, error.message)
                continue
            opened.append(stack.enter_context(contender))
        if not opened:
            reasons = "; ".join(f"{skip['name']}: {skip['reason']}" for skip in self._skipped)
            raise FailedPreconditionError(f"none of the contenders can run here: {reasons}")
        return opened

    def _make_files_of(self, name: str) -> None:
        """Writes what the contender runs and no version has."""
        if name in ("ort-fp32", "ort-dynamic-int8") and not self._exported:
            self._module("plain_export", [str(self._job_file)])
            self._exported = True
        if name == "ort-dynamic-int8":
            self._module("dynamic_int8", [str(self._job_file)])

    def _skip(self, name: str, reason: str) -> None:
        self._skipped.append({"name": name, "reason": reason})

    def _measure(self, contenders: list[Contender], texts: int) -> tuple[list[Raw], float | None]:
        options = self._options
        indices: dict[str, list[int]] = {}
        for contender in contenders:
            self._notify(f"warming up {contender.name}")
            probe = contender.ask("probe")
            affordable = int(probe["texts"] / probe["seconds"] * options.round_budget_s)
            count = min(texts, max(affordable, _LEAST_TEXTS))
            indices[contender.name] = contender.ask("take", count=count)["indices"]
        seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        ceilings: list[float] = []
        for number in range(1, options.rounds + 1):
            for contender in contenders:
                self._notify(f"round {number} of {options.rounds}: {contender.name}")
                seconds[contender.name].append(contender.ask("round")["seconds"])
            ceilings += self._ceiling()
        raws = []
        for contender in contenders:
            self._notify(f"one text at a time: {contender.name}")
            alone = contender.ask("alone", budget_s=options.alone_budget_s, most=_MOST_ALONE)
            end = contender.ask("finish")
            raws.append(
                Raw(
                    name=contender.name,
                    indices=indices[contender.name],
                    seconds=seconds[contender.name],
                    labels=end["labels"],
                    alone_positions=alone["positions"],
                    alone_labels=alone["labels"],
                    alone_ms=alone["milliseconds"],
                    load_seconds=contender.load_seconds,
                    peak_bytes=end["peak_bytes"],
                    file_bytes=contender.ready["file_bytes"],
                    padding_waste=end["padding_waste"],
                )
            )
        # A ceiling is the most the machine ever did, not what it usually does.
        return raws, max(ceilings, default=None)

    def _ceiling(self) -> list[float]:
        if not any(name.endswith("-int8") for name in self._options.contenders):
            return []
        self._notify("the machine's U8×S8 rate")
        try:
            answer = self._module("ceiling", [str(self._options.threads)])
        except LabelmillError as error:
            self._skip("ceiling", error.message)
            return []
        return [answer["macs_per_second"]]
