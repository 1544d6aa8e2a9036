"""Runs training jobs and imports, one at a time, each in a child process.

The child knows neither Redis nor leases: it reads a job file, prints events as JSON lines and
registers the version. This side publishes the events, keeps the lease and stops the child.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import redis
from google.protobuf.json_format import MessageToDict

from labelmill.queue import aliases
from labelmill.queue.training import MAX_ATTEMPTS, TrainingLeases, TrainingRecord
from labelmill.registry import Registry
from labelmill.v1.training_pb2 import TrainingEvent
from labelmill.worker.loops import RedisLoop, persist

_log = logging.getLogger(__name__)

#: Seconds between beats, and so until a cancelled run is told.
_BEAT_S = 1.0

#: Seconds a child gets to end by itself before it is killed.
_STOP_S = 3.0

#: How much the child yields to serving; see nice(2).
_NICENESS = 5

#: Seconds between looks for a job.
_IDLE_S = 0.5

#: What the child is told, in the job's work folder.
_JOB_FILE = "job.json"

#: What happens after a crash.
_RESUMPTION = {"train": "it resumes from its last checkpoint", "import": "it starts anew"}

#: Characters of the child's last words in an error message.
_LAST_WORDS = 600


class TrainingSupervisor:
    """Takes training jobs and sees them through.

    Args:
        client: for aliases.
        leases: the training queue.
        registry: root of the registry; runs keep their checkpoints below it, so that another
            worker can resume them.
    """

    def __init__(self, client: redis.Redis, leases: TrainingLeases, registry: Path) -> None:
        self._client = client
        self._leases = leases
        self._registry = registry
        self._child: _Child | None = None
        self._ending = threading.Event()
        self.loop = RedisLoop("training", self.step, every_s=_IDLE_S)

    def step(self) -> None:
        """Runs the next job to its end, if there is one."""
        if self._ending.is_set():
            return
        leased = self._leases.lease()
        if leased is not None:
            self._run(*leased)

    def stop(self) -> None:
        """Stops the child and puts its job back for another worker."""
        self._ending.set()
        self.loop.stop()
        if child := self._child:
            child.stop("ending")

    def _run(self, record: TrainingRecord, token: str) -> None:
        if record.attempt > MAX_ATTEMPTS:
            message = (
                f"the run was lost {MAX_ATTEMPTS} times with its worker; see the workers' logs "
                "for what ended them (memory, most often)"
            )
            self._finish(record, token, "FAILED", message, reason="WORKER_LOST")
            return
        work_dir = self._registry / "work" / record.id
        job = self._job(record, work_dir)
        if job is None:
            message = "what the import was asked for is no longer in Redis; import again"
            self._finish(record, token, "FAILED", message, reason="INTERNAL")
            return
        work_dir.mkdir(parents=True, exist_ok=True)
        job_file = work_dir / _JOB_FILE
        job_file.write_text(json.dumps(job), encoding="utf-8")
        _log.info("%s %s, attempt %d", record.kind, record.id, record.attempt)
        child = self._child = _Child(job_file, work_dir / "trainer.log")
        beater = RedisLoop(
            "training-beat", lambda: self._beat(record.id, token, child), every_s=_BEAT_S
        )
        beater.start()
        try:
            last: dict[str, Any] = {}
            for line in child.events():
                if "result" in line or "error" in line:
                    last = line
                else:
                    self._publish(record.id, token, line)
            code = child.wait()
        finally:
            beater.stop()
            child.kill()
            beater.join(_BEAT_S * 2)
            self._child = None
        self._conclude(record, token, child, last, code, work_dir)

    def _job(self, record: TrainingRecord, work_dir: Path) -> dict[str, Any] | None:
        """What the child is told; None for an import whose request is gone."""
        job = {
            "kind": record.kind,
            "job": record.id,
            "registry": str(self._registry),
            "model": record.model,
            "work_dir": str(work_dir),
            "worker_pid": os.getpid(),
        }
        if record.kind == "train":
            return job | {"dataset_id": record.dataset_id, "config": _config(record)}
        request = self._leases.request_of(record.id)
        if request is None:
            return None
        return job | {
            "source_directory": request.source_directory,
            "calibration_texts": list(request.calibration_texts),
            "calibration_labels": list(request.calibration_labels),
            "max_length": request.max_length if request.HasField("max_length") else None,
        }

    def _beat(self, job: str, token: str, child: _Child) -> None:
        answer = self._leases.beat(job, token)
        if answer == "STOP":
            child.stop("cancelled")
        elif answer == "STALE":
            child.stop("stale")

    def _publish(self, job: str, token: str, line: dict[str, Any]) -> None:
        event = TrainingEvent(
            stage=line.get("stage", ""),
            progress=line.get("progress", 0.0),
            message=line.get("message", ""),
            warning=line.get("warning", False),
            metrics=line.get("metrics", {}),
        )
        self._persist(lambda: self._leases.event(job, token, event))

    def _conclude(
        self,
        record: TrainingRecord,
        token: str,
        child: _Child,
        last: dict[str, Any],
        code: int,
        work_dir: Path,
    ) -> None:
        if child.stopped_as != "stale":
            # Whoever has the lease now may be staging under the same name.
            Registry(self._registry).discard(record.model, record.id)
        if "result" in last:
            version = int(last["result"]["version"])
            if record.alias:
                self._persist(
                    lambda: aliases.point(self._client, record.model, record.alias, version)
                )
            message = f"{record.model}@{version} is registered and serves."
            self._finish(record, token, "SUCCEEDED", message, version=version)
            shutil.rmtree(work_dir, ignore_errors=True)
        elif child.stopped_as == "stale":
            _log.warning("%s %s: its lease was lost", record.kind, record.id)
        elif child.stopped_as == "ending":
            self._persist(lambda: self._leases.release(record.id, token))
        elif child.stopped_as == "cancelled":
            self._finish(record, token, "CANCELLED", "Cancelled.")
            shutil.rmtree(work_dir, ignore_errors=True)
        elif "error" in last:
            error = last["error"]
            # Of an import it holds the caller's texts, which nobody needs any more.
            (work_dir / _JOB_FILE).unlink(missing_ok=True)
            self._finish(
                record,
                token,
                "FAILED",
                error["message"],
                reason=error["reason"],
                error_fields=error["fields"],
            )
        elif record.attempt < MAX_ATTEMPTS:
            _log.error("%s %s: its process ended with %d", record.kind, record.id, code)
            message = f"Its process ended with exit code {code}; {_RESUMPTION[record.kind]}."
            event = {"stage": "restart", "message": message, "warning": True}
            self._publish(record.id, token, event)
            self._persist(lambda: self._leases.release(record.id, token))
        else:
            message = f"its process ended with exit code {code}: {child.last_words()}"
            self._finish(record, token, "FAILED", message, reason="TRAINER_CRASHED")

    def _finish(
        self,
        record: TrainingRecord,
        token: str,
        state: Any,
        message: str,
        *,
        version: int = 0,
        reason: str = "",
        error_fields: Mapping[str, str] | None = None,
    ) -> None:
        _log.info("%s %s: %s, %s", record.kind, record.id, state, message)
        event = TrainingEvent(
            stage="register", progress=1.0 if version else 0.0, message=message, warning=not version
        )
        self._persist(
            lambda: self._leases.finish(
                record.id,
                token,
                state,
                event,
                version=version,
                reason=reason,
                error_fields=error_fields,
            )
        )

    def _persist(self, call: Any) -> None:
        persist(call, self._ending)


class _Child:
    """The trainer process."""

    def __init__(self, job_file: Path, log: Path) -> None:
        self._log_path = log
        self._log = log.open("ab")
        self.stopped_as = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "labelmill.worker.train", str(job_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # ctrl-C reaches the whole foreground group; this child is stopped by us alone.
            start_new_session=True,
        )
        with contextlib.suppress(psutil.Error):
            psutil.Process(self._process.pid).nice(_NICENESS)

    def events(self) -> Any:
        """JSON objects as the child prints them, until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                parsed = json.loads(line)
            except ValueError:
                # A library printed; it belongs into the log.
                self._log.write(line)
                continue
            if isinstance(parsed, dict):
                yield parsed

    def stop(self, why: str) -> None:
        """Asks the child to end, and kills it when it does not."""
        if self.stopped_as or self._process.poll() is not None:
            return
        self.stopped_as = why
        self._process.send_signal(signal.SIGTERM)
        killer = threading.Timer(_STOP_S, self.kill)
        killer.daemon = True
        killer.start()

    def wait(self) -> int:
        """The exit code."""
        return self._process.wait()

    def kill(self) -> None:
        """Ends the child at once."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def last_words(self) -> str:
        """The end of what it wrote to its log."""
        return self._log_path.read_text(errors="replace")[-_LAST_WORDS:].strip()


def _config(record: TrainingRecord) -> dict[str, Any]:
    fields: dict[str, Any] = MessageToDict(record.config, preserving_proto_field_name=True)
    if "seed" in fields:
        # Protobuf's JSON form writes 64-bit integers as strings.
        fields["seed"] = int(fields["seed"])
    return fields
