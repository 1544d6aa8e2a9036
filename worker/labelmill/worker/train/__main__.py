"""The training child: `python -m labelmill.worker.train JOB.json`.

JOB.json: {"registry", "model", "work_dir"} with {"dataset_id", "config"} to train or {"kind":
"import", "job", "source_directory", "calibration_texts", "calibration_labels", "max_length"} to
import, and optionally "worker_pid", the process whose end ends this one; otherwise that is the
parent. Prints one JSON object a line on stdout: events {"stage", "progress", "message", "warning",
"metrics"}, and last {"result": {"version"}} or {"error": {"reason", "message", "fields"}}. All else
goes to stderr. SIGTERM ends it within seconds; started again it resumes.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn, TextIO

# A thread that waits for the others must not spin for long: serving shares these cores with
# training, and that made a training step 20 times slower beside one other busy process. Read by
# OpenMP when torch is loaded; see docs/decisions/0023.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from labelmill.errors import FailedPreconditionError, InternalError, LabelmillError
from labelmill.registry import Registry
from labelmill.registry.datasets import DatasetStore
from labelmill.training import TrainingConfig
from labelmill.worker.train.events import Event
from labelmill.worker.train.workspace import remove_checkpoints

_log = logging.getLogger(__name__)

#: Seconds after SIGTERM at which the kernel ends the process, whatever it is doing.
_GRACE_S = 4.0

#: Seconds between looks whether the worker that started this process still lives.
_PARENT_CHECK_S = 1.0

#: Exit codes: the run failed; the run was stopped by SIGTERM.
_FAILED, _STOPPED = 1, 128 + signal.SIGTERM


class _StoppedError(BaseException):
    """Raised where SIGTERM finds the run; not an Exception, so that no library swallows it."""


def main() -> int:
    """Runs the job named on the command line; returns the exit code."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m labelmill.worker.train JOB.json\n")
        return 2
    events = _take_stdout()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    signal.signal(signal.SIGTERM, _stop)
    job = json.loads(Path(sys.argv[1]).read_bytes())
    worker_pid = job.get("worker_pid", os.getppid())
    threading.Thread(target=_end_with_worker, args=(worker_pid,), daemon=True).start()
    try:
        version = _run(job, events)
    except _StoppedError:
        return _STOPPED
    except Exception as error:  # noqa: BLE001
        _log.exception("the run failed")
        # What ended the run would end it again; only a run that was killed is resumed.
        remove_checkpoints(Path(job["work_dir"]))
        reported = _as_reported(error)
        fields = {violation.field: violation.description for violation in reported.violations}
        line = {"reason": reported.reason, "message": reported.message, "fields": fields}
        _print(events, {"error": line})
        return _FAILED
    _print(events, {"result": {"version": version}})
    return 0


def _run(job: dict[str, Any], events: TextIO) -> int:
    return _import(job, events) if job.get("kind") == "import" else _train(job, events)


def _train(job: dict[str, Any], events: TextIO) -> int:
    registry = Registry(Path(job["registry"]))
    store = DatasetStore(registry.root)
    config = TrainingConfig.checked(job["config"])
    data, meta = store.path(job["dataset_id"]), store.get(job["dataset_id"])
    # Loads torch, which a bad request should not wait for.
    from labelmill.worker.train.pipeline import run_training

    manifest = run_training(
        data=data,
        meta=meta,
        model=job["model"],
        config=config,
        registry=registry,
        work_dir=Path(job["work_dir"]),
        listener=lambda event: _tell(events, event),
    )
    return manifest.version


def _import(job: dict[str, Any], events: TextIO) -> int:
    from labelmill.worker.foreign.pipeline import run_import
    from labelmill.worker.foreign.request import ImportRequest

    manifest = run_import(
        ImportRequest.parse(job),
        registry=Registry(Path(job["registry"])),
        work_dir=Path(job["work_dir"]),
        listener=lambda event: _tell(events, event),
    )
    return manifest.version


def _take_stdout() -> TextIO:
    """Keeps the real stdout for events; what libraries print goes to stderr."""
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return events


def _tell(events: TextIO, event: Event) -> None:
    _print(events, {**event._asdict(), "metrics": dict(event.metrics)})


def _print(events: TextIO, line: dict[str, Any]) -> None:
    events.write(json.dumps(line, ensure_ascii=False) + "\n")
    events.flush()


def _as_reported(error: Exception) -> LabelmillError:
    if isinstance(error, LabelmillError):
        return error
    # Libraries in other languages wrap what the operating system said into errors of their own.
    full = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]
    if any(text in str(error) for text in full):
        return FailedPreconditionError(
            f"no space to write ({error}); free some on the worker's registry and try again"
        )
    if isinstance(error, OSError):
        return FailedPreconditionError(f"the worker cannot read or write its files: {error}")
    return InternalError(
        f"the run failed with {type(error).__name__}: {error}; the worker's log says where"
    )


def _stop(_signal: int, _frame: object) -> None:
    # Unwinding removes what was staged; where a library does not let go, the kernel helps.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, _GRACE_S)
    raise _StoppedError


def _end_with_worker(pid: int) -> None:
    """A worker that was killed could not stop this process, and its job starts anew elsewhere."""
    while os.getppid() == pid:
        time.sleep(_PARENT_CHECK_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(_STOPPED)


def _leave(code: int) -> NoReturn:
    """Ends the process at once: taking torch apart object by object takes seconds."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
