"""The registry: immutable model versions in a directory.

    <root>/models/<name>/<version>/manifest.json, model.int8.onnx, ...

A version appears by one rename of a complete, synced folder, or not at all. Aliases are not here:
they move, so they live in Redis (labelmill.queue.aliases).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from labelmill.errors import ArtifactCorruptError, ModelNotFoundError
from labelmill.names import check_model_name
from labelmill.registry.manifest import MANIFEST_FILE, Artifact, Description, Manifest

#: Bytes read at a time when hashing.
_BLOCK = 1 << 20

#: How names of staging folders begin.
_STAGING = ".staging-"

#: A staging folder older than this many seconds was left by a crash.
_STALE_STAGING_S = 24 * 3600


class Staging:
    """A folder to fill with a new version's files; `publish` turns it into the version."""

    def __init__(self, path: Path, model: str, versions_dir: Path) -> None:
        self.path = path
        self._model = model
        self._versions_dir = versions_dir
        self.published: Manifest | None = None

    def publish(self, description: Description) -> Manifest:
        """Registers the folder's files as the model's next version.

        Raises:
            OSError: the disk is full or not writable; nothing is registered then.
        """
        artifacts = {
            str(file.relative_to(self.path)): _describe(file)
            for file in sorted(self.path.rglob("*"))
            if file.is_file()
        }
        while True:
            number = max(_numbers(self._versions_dir), default=0) + 1
            manifest = Manifest(
                **description.model_dump(),
                model=self._model,
                version=number,
                created_at=datetime.now(UTC),
                artifacts=artifacts,
            )
            text = manifest.model_dump_json(indent=2)
            (self.path / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
            _sync_tree(self.path)
            try:
                self.path.rename(self._versions_dir / str(number))
            except OSError:
                # Another process took the number between the look and the rename.
                if not (self._versions_dir / str(number)).exists():
                    raise
                continue
            _sync(self._versions_dir)
            self.published = manifest
            return manifest


class Registry:
    """Reads and adds model versions below `root`; many processes may do so at once."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().resolve()
        self._models = self.root / "models"

    def models(self) -> list[str]:
        """Names of models with at least one version, sorted."""
        if not self._models.is_dir():
            return []
        return sorted(d.name for d in self._models.iterdir() if _numbers(d))

    def versions(self, model: str) -> list[int]:
        """Version numbers of `model`, ascending; raises ModelNotFoundError when there are none."""
        check_model_name(model)
        numbers = sorted(_numbers(self._models / model))
        if not numbers:
            known = ", ".join(self.models()) or "none yet; train one with `labelmill train`"
            raise ModelNotFoundError(f"there is no model {model!r}; models here: {known}")
        return numbers

    def path(self, model: str, version: int) -> Path:
        """Folder of a version; raises ModelNotFoundError."""
        numbers = self.versions(model)
        if version not in numbers:
            raise ModelNotFoundError(
                f"model {model!r} has no version {version}; it has "
                + ", ".join(map(str, numbers[-10:]))
            )
        return self._models / model / str(version)

    def manifest(self, model: str, version: int) -> Manifest:
        """The version's manifest.

        Raises:
            ModelNotFoundError: there is no such version.
            ArtifactCorruptError: its manifest cannot be read, or a file is missing or has
                another size than it says.
        """
        folder = self.path(model, version)
        try:
            manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        except (OSError, ValidationError) as error:
            raise ArtifactCorruptError(
                f"the manifest of {model}@{version} cannot be read ({error}); restore "
                f"{folder / MANIFEST_FILE} from a backup or train the model again"
            ) from error
        for name, artifact in manifest.artifacts.items():
            file = folder / name
            size = file.stat().st_size if file.is_file() else None
            if size != artifact.size_bytes:
                state = "is missing" if size is None else f"has {size} bytes"
                raise ArtifactCorruptError(
                    f"{name} of {model}@{version} {state}, its manifest says "
                    f"{artifact.size_bytes} bytes; restore it from a backup or train again",
                    metadata={"artifact": name},
                )
        return manifest

    def verify(self, model: str, version: int, only: list[str] | None = None) -> Manifest:
        """Reads the version's files (or `only` these) and compares their checksums.

        Raises:
            ModelNotFoundError: there is no such version.
            ArtifactCorruptError: a file is missing or altered; metadata names the `artifact`.
        """
        manifest = self.manifest(model, version)
        folder = self.path(model, version)
        for name in manifest.artifacts if only is None else only:
            artifact = manifest.artifacts.get(name)
            if artifact is None:
                raise ArtifactCorruptError(
                    f"{model}@{version} has no file {name}", metadata={"artifact": name}
                )
            if _describe(folder / name).sha256 != artifact.sha256:
                raise ArtifactCorruptError(
                    f"{name} of {model}@{version} was altered: its SHA-256 is not the one in the "
                    "manifest; restore it from a backup or train again",
                    metadata={"artifact": name},
                )
        return manifest

    def discard(self, model: str, run: str) -> None:
        """Removes what `run` staged and, being killed, could not remove itself."""
        for path in (self._models / check_model_name(model)).glob(f"{_STAGING}{run}-*"):
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def stage(self, model: str, run: str = "") -> Iterator[Staging]:
        """A folder for a new version of `model`; it is removed unless published.

        Args:
            model: its name.
            run: who fills the folder, for `discard`.
        """
        versions_dir = self._models / check_model_name(model)
        versions_dir.mkdir(parents=True, exist_ok=True)
        _remove_stale(versions_dir)
        path = versions_dir / f"{_STAGING}{run}-{uuid.uuid4().hex}"
        path.mkdir()
        staging = Staging(path, model, versions_dir)
        try:
            yield staging
        finally:
            if staging.published is None:
                shutil.rmtree(path, ignore_errors=True)


def _numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(d.name) for d in folder.iterdir() if d.name.isascii() and d.name.isdigit()]


def _describe(file: Path) -> Artifact:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return Artifact(size_bytes=file.stat().st_size, sha256=digest.hexdigest())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _remove_stale(versions_dir: Path) -> None:
    oldest = datetime.now(UTC).timestamp() - _STALE_STAGING_S
    for path in versions_dir.glob(f"{_STAGING}*"):
        # Another process may publish it at this moment.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)
