"""Data sets: stored whole under a checksum, checked before they are stored.

    <root>/datasets/<id>/data.csv, meta.json

What a data set must be like is labelmill.registry.dataset_check's matter.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from labelmill.errors import ArtifactCorruptError, DatasetNotFoundError, OverloadedError
from labelmill.registry.dataset_check import DatasetHeader, DatasetMeta, inspect_file

#: Largest data set stored, in bytes.
MAX_DATASET_BYTES = 2 << 30

#: A staging folder older than this many seconds was left by a crash.
_STALE_STAGING_S = 24 * 3600

_ID = re.compile(r"[0-9a-f]{64}")
_META_FILE = "meta.json"


class DatasetStore:
    """Stores and finds data sets below `root`, the registry's directory."""

    def __init__(self, root: Path) -> None:
        self._folder = root.expanduser().resolve() / "datasets"

    def begin(self) -> DatasetWriter:
        """Starts an upload; use it as a context manager so that a broken one leaves nothing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_stale()
        return DatasetWriter(self._folder)

    def get(self, dataset_id: str) -> DatasetMeta:
        """The data set's description.

        Raises:
            DatasetNotFoundError: there is no such data set.
            ArtifactCorruptError: its files are missing or have another size.
        """
        folder = self._folder / dataset_id
        if not _ID.fullmatch(dataset_id) or not folder.is_dir():
            raise DatasetNotFoundError(
                f"there is no data set {dataset_id[:64]!r}; upload it again and use the id answered"
            )
        return _load(folder)

    def path(self, dataset_id: str) -> Path:
        """The data set's file; raises as `get` does."""
        return self._folder / dataset_id / f"data.{self.get(dataset_id).format}"

    def _remove_stale(self) -> None:
        oldest = datetime.now(UTC).timestamp() - _STALE_STAGING_S
        for path in self._folder.glob(".staging-*"):
            # Another process may publish it at this moment.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    shutil.rmtree(path, ignore_errors=True)


class DatasetWriter:
    """One upload: bytes, then `finish`. Nothing is visible before `finish` returns."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staging = folder / f".staging-{uuid.uuid4().hex}"
        self._staging.mkdir()
        self._file = (self._staging / "data").open("wb")
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.abort()

    def write(self, data: bytes) -> None:
        """Appends `data`; raises OverloadedError above MAX_DATASET_BYTES."""
        self.size_bytes += len(data)
        if self.size_bytes > MAX_DATASET_BYTES:
            raise OverloadedError(
                f"the data set has more than {MAX_DATASET_BYTES >> 30} GiB; send a sample of it"
            )
        self._digest.update(data)
        self._file.write(data)

    def finish(self, header: DatasetHeader) -> DatasetMeta:
        """Checks the data and stores it; the same data again gives the data set stored before.

        Raises:
            DatasetError: the data cannot be trained on; nothing is stored.
            OSError: the disk is full or not writable; nothing is stored.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        dataset_id = _dataset_id(header, self._digest.digest())
        target = self._folder / dataset_id
        if not target.is_dir():
            data = self._staging / f"data.{header.format}"
            (self._staging / "data").rename(data)
            meta = inspect_file(data, header, dataset_id)
            (self._staging / _META_FILE).write_text(meta.model_dump_json(indent=2) + "\n", "utf-8")
            try:
                self._staging.rename(target)
            except OSError:
                # The same data was stored by someone else in the meantime.
                if not target.is_dir():
                    raise
        self.abort()
        return _load(target)

    def abort(self) -> None:
        """Drops what was written; does nothing after `finish`."""
        self._file.close()
        shutil.rmtree(self._staging, ignore_errors=True)


def _dataset_id(header: DatasetHeader, digest: bytes) -> str:
    columns = json.dumps([header.format, header.text_column, header.label_column])
    return hashlib.sha256(columns.encode() + b"\0" + digest).hexdigest()


def _load(folder: Path) -> DatasetMeta:
    try:
        meta = DatasetMeta.model_validate_json((folder / _META_FILE).read_bytes())
        size = (folder / f"data.{meta.format}").stat().st_size
    except (OSError, ValidationError) as error:
        raise ArtifactCorruptError(
            f"data set {folder.name} cannot be read ({error}); delete {folder} and upload it again"
        ) from error
    if size != meta.size_bytes:
        raise ArtifactCorruptError(
            f"data set {folder.name} has {size} bytes instead of {meta.size_bytes}; "
            f"delete {folder} and upload it again"
        )
    return meta
