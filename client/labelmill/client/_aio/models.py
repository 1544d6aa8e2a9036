"""Models on asyncio: list, inspect, and move aliases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from labelmill.client._aio.base import AsyncPart
from labelmill.client._wire import models
from labelmill.client._wire.models import Model, ModelVersion


class AsyncModels(AsyncPart):
    """Methods of the ModelService."""

    def list_models(
        self, *, page_size: int = 100, timeout: float | None = None
    ) -> AsyncIterator[Model]:
        """Models by name, read page by page."""
        return self._transport.pages(lambda token: models.list_page(page_size, token), timeout)

    async def get_model(self, name: str, *, timeout: float | None = None) -> Model:
        """One model with its aliases; raises ModelNotFoundError."""
        return await self._transport.unary(models.get(name), timeout)

    def list_versions(
        self, model: str, *, page_size: int = 100, timeout: float | None = None
    ) -> AsyncIterator[ModelVersion]:
        """A model's versions, newest first; raises ModelNotFoundError."""
        return self._transport.pages(
            lambda token: models.versions_page(model, page_size, token), timeout
        )

    async def get_version(
        self, model: str, *, verify: bool = False, timeout: float | None = None
    ) -> ModelVersion:
        """One version with its report.

        Args:
            model: ``name``, ``name@alias`` or ``name@version``.
            verify: read every file and compare its checksum.
            timeout: as in `classify`.

        Raises:
            ModelNotFoundError: there is no such model, alias or version.
            ArtifactCorruptError: a file is missing or, with `verify`, altered.
        """
        return await self._transport.unary(models.get_version(model, verify=verify), timeout)

    async def set_alias(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        etag: str = "",
        timeout: float | None = None,
    ) -> Model:
        """Points `alias` at `version`.

        Args:
            model: the model's name.
            alias: e.g. ``default``, which serves the bare name.
            version: an existing version.
            etag: `Model.etag` as read before; empty moves the alias whatever it is now.
            timeout: as in `classify`.

        Raises:
            ModelNotFoundError: there is no such model or version.
            EtagMismatchError: an alias moved since the etag was read.
        """
        return await self._transport.unary(models.set_alias(model, alias, version, etag), timeout)

    async def rollback(
        self, model: str, *, alias: str = "default", timeout: float | None = None
    ) -> Model:
        """Points `alias` back at the version it had before."""
        return await self._transport.unary(models.rollback(model, alias), timeout)

    async def delete_version(
        self, model: str, version: int, *, timeout: float | None = None
    ) -> None:
        """Deletes a version; raises FailedPreconditionError while it is aliased or in use."""
        await self._transport.unary(models.delete_version(model, version), timeout)

    async def import_model(
        self,
        source_directory: str,
        *,
        model: str,
        calibration_texts: Sequence[str] = (),
        alias: str | None = "default",
        timeout: float | None = None,
    ) -> ModelVersion:
        """Registers a Hugging Face checkpoint that lies on the worker as a new version."""
        return await self._transport.unary(
            models.import_model(
                source_directory, model=model, calibration_texts=calibration_texts, alias=alias
            ),
            timeout,
        )
