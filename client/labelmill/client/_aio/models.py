"""Models on asyncio: list, inspect, and move aliases."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from labelmill.client._aio.base import AsyncPart
from labelmill.client._wire import jobs, models, training
from labelmill.client._wire.models import Model, ModelVersion
from labelmill.client._wire.training import TrainingEvent, TrainingJob, TrainingWatch


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
        source_directory: str | Path,
        *,
        model: str,
        calibration_texts: Sequence[str] = (),
        calibration_labels: Sequence[str] = (),
        max_length: int | None = None,
        alias: str | None = "default",
        on_event: Callable[[TrainingEvent], object] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> ModelVersion:
        """Makes a version of `model` from a Hugging Face classification checkpoint.

        A worker exports, quantizes and gates it, which takes a minute or more; it goes on when this
        client goes away, and `watch_training` takes it up.

        Args:
            source_directory: absolute path of a directory that the workers see, with config.json,
                tokenizer and safetensors.
            model: name the version will belong to.
            calibration_texts: texts like those to classify, at most 5,000; they set the ranges of
                INT8 and are what the gates compare on. Built-in ones by default.
            calibration_labels: their right labels, one entry each, by the checkpoint's names; they
                add figures, gates on F1, a temperature and thresholds.
            max_length: tokens a text; as many as the checkpoint reads by default, at most 512.
            alias: moved to the new version at the end; None moves none.
            on_event: called with every event; an awaitable it returns is awaited.
            request_id: UUID4 that makes repeating this call within 24 h wait for the same import.
            timeout: seconds to wait for the end; None sets no bound.

        Returns:
            The version with its report.

        Raises:
            InvalidArgumentError: no such directory on the worker, or no checkpoint that can be
                imported; a bad name, label or length.
            FailedPreconditionError: the model cannot be exported, or (GateFailedError) decides
                otherwise once it is.
            CancelledError: the import was cancelled.
            DeadlineError: it was not done in time; it goes on.
        """
        job = await self.create_import(
            source_directory,
            model=model,
            calibration_texts=calibration_texts,
            calibration_labels=calibration_labels,
            max_length=max_length,
            alias=alias,
            request_id=request_id,
        )
        watch = TrainingWatch(job.id)
        async for event in self._transport.follow(watch, timeout_s=timeout):
            if on_event is not None and inspect.isawaitable(answer := on_event(event)):
                await answer
        job = await self._transport.unary(training.get(job.id))
        if not job.state.successful:
            raise jobs.failure(job.id, job.state, job.error, job.error_fields)
        return await self.get_version(f"{job.model}@{job.version}")

    async def create_import(
        self,
        source_directory: str | Path,
        *,
        model: str,
        calibration_texts: Sequence[str] = (),
        calibration_labels: Sequence[str] = (),
        max_length: int | None = None,
        alias: str | None = "default",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> TrainingJob:
        """Queues an import and returns at once; arguments as of `import_model`.

        Returns:
            The job, for `watch_training`, `get_training_job` and `cancel_training`.

        Raises:
            InvalidArgumentError: a bad name, text, length or path.
        """
        return await self._transport.unary(
            models.import_model(
                source_directory,
                model=model,
                calibration_texts=calibration_texts,
                calibration_labels=calibration_labels,
                max_length=max_length,
                alias=alias,
                request_id=request_id,
            ),
            timeout,
        )
