"""The output of a run: a partial file that grows, a checkpoint beside it, one rename at the end."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from labelmill.client.cli.table.checkpoint import Checkpoint
from labelmill.client.cli.table.formats import Format
from labelmill.client.cli.table.writer import WRITERS, Scored, Writer
from labelmill.errors import FailedPreconditionError, InvalidArgumentError, LabelmillError

#: What errors call the file.
FIELD = "--output"

#: Seconds between two checkpoints.
_CHECKPOINT_S = 1.0


class Sink:
    """Holds OUTPUT.partial for this process alone from `__enter__` on.

    Raises:
        InvalidArgumentError: the output cannot be written there.
        FailedPreconditionError: another run is writing it.
    """

    def __init__(self, target: Path, file_format: Format) -> None:
        self._target = target
        self._writer_class = WRITERS[file_format]
        self._partial = target.with_name(f"{target.name}.partial")
        self._sidecar = target.with_name(f"{target.name}.labelmill.json")
        self._saved_at = 0.0
        self._writer: Writer | None = None

    def __enter__(self) -> Self:
        if self._target.is_dir():
            raise InvalidArgumentError.at(FIELD, f"{self._target} is a directory; name a file")
        try:
            self._file = self._partial.open("a+b")
        except OSError as error:
            raise InvalidArgumentError.at(
                FIELD, f"{self._partial} cannot be written: {error.strerror}"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise FailedPreconditionError(
                f"another `labelmill score` is writing {self._target}; wait for it, or give "
                "another --output"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.abandon()
        if error is not None and not self._sidecar.exists():
            self._partial.unlink(missing_ok=True)
        self._file.close()

    def saved(self) -> Checkpoint | None:
        """The checkpoint of an earlier run whose partial output still holds what it says."""
        found = Checkpoint.load(self._sidecar)
        if found is None or self._file.seek(0, 2) < found.bytes:
            return None
        if not self._writer_class.continuable:
            return replace(found, rows=0, bytes=0, resume_token="")
        return found

    def forget(self) -> None:
        """Drops the checkpoint: there is nothing to continue."""
        self._sidecar.unlink(missing_ok=True)

    def begin(self, checkpoint: Checkpoint) -> None:
        """Cuts the partial output back to `checkpoint` and gets ready to append."""
        self._file.truncate(checkpoint.bytes)
        self._file.seek(0, 2)
        self._writer = self._writer_class(self._file)
        if not checkpoint.bytes:
            self._writer.begin()
        self._checkpoint = replace(checkpoint, bytes=self._writer.flush())
        self.save()

    @property
    def rows(self) -> int:
        """Rows in the partial output, those of earlier runs included."""
        return self._checkpoint.rows

    def write(self, rows: Sequence[Scored], resume_token: str) -> None:
        """Appends rows, and now and then notes how far they go."""
        try:
            writer = self._begun()
            writer.write(rows)
            # One assignment: Ctrl-C between any two steps leaves a checkpoint that is true.
            self._checkpoint = replace(
                self._checkpoint,
                rows=self._checkpoint.rows + len(rows),
                bytes=writer.flush(),
                resume_token=resume_token,
            )
        except OSError as error:
            raise self._unwritable(error) from error
        if time.monotonic() - self._saved_at >= _CHECKPOINT_S:
            self.save()

    def save(self) -> None:
        """Notes how far the rows written go, for the run that continues."""
        try:
            self._checkpoint.save(self._sidecar)
        except OSError as error:
            raise self._unwritable(error) from error
        self._saved_at = time.monotonic()

    def publish(self) -> None:
        """Makes the partial output the output."""
        try:
            self._begun().finish()
            self._partial.replace(self._target)
        except OSError as error:
            raise self._unwritable(error) from error
        self.forget()

    def _begun(self) -> Writer:
        assert self._writer is not None, "`begin` comes first"
        return self._writer

    def _unwritable(self, error: OSError) -> LabelmillError:
        return LabelmillError(
            f"{self._partial} cannot be written: {error.strerror}; make room and run the same "
            "command again, it goes on where it was"
        )
