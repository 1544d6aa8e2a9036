"""Training: upload a data set, start a run, follow its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Unpack

from labelmill.client._sync.base import Part
from labelmill.client._wire import jobs, training
from labelmill.client._wire.training import (
    Dataset,
    TrainingConfig,
    TrainingEvent,
    TrainingJob,
    TrainingWatch,
)
from labelmill.v1 import training_pb2 as pb


class Training(Part):
    """Methods of the TrainingService."""

    def upload_dataset(
        self,
        path: str | Path,
        *,
        text_column: str = "text",
        label_column: str = "label",
        on_progress: Callable[[int], None] | None = None,
        timeout: float | None = None,
    ) -> Dataset:
        """Stores a CSV, JSONL or Parquet file; the same file again returns the same data set.

        Args:
            path: a file of at most 2 GiB; the extension says what it is.
            text_column: column with the text.
            label_column: column with the label; ``a|b`` means two labels.
            on_progress: called with the number of bytes sent so far, from another thread.
            timeout: seconds for the whole upload; None sets no bound.

        Raises:
            DatasetError: the file cannot be read or trained on.
            InvalidArgumentError: an unknown extension, a missing column.
        """
        path = Path(path)
        header = training.dataset_header(path, text_column, label_column)
        with training.open_dataset(path) as file:

            def messages() -> Iterator[pb.UploadDatasetRequest]:
                file.seek(0)
                for message in training.dataset_parts(header, file):
                    yield message
                    if on_progress is not None:
                        on_progress(file.tell())

            response = self._transport.upload(
                training.UPLOAD, messages, backoff=self._transport.patient(timeout)
            )
        return training.parse_dataset(response)

    def train(
        self,
        dataset: str | Path | Dataset,
        *,
        model: str,
        alias: str | None = "default",
        text_column: str = "text",
        label_column: str = "label",
        on_event: Callable[[TrainingEvent], object] | None = None,
        wait: bool = True,
        request_id: str | None = None,
        **config: Unpack[TrainingConfig],
    ) -> TrainingJob:
        """Trains a new version of `model` and, unless `wait` is False, waits for it.

        The run goes on in a worker when this client goes away; `watch_training` takes it up.

        Args:
            dataset: a file to upload, a `Dataset`, or a data set's id.
            model: name the version will belong to.
            alias: moved to the new version at the end; None moves none.
            text_column: of a file, the column with the text.
            label_column: of a file, the column with the label.
            on_event: called with every event.
            wait: False returns as soon as the job is queued.
            request_id: UUID4 that makes repeating this call within 24 h return the same job.
            **config: hyper-parameters, e.g. ``epochs=2``; see `TrainingConfig`.

        Returns:
            The job; its `version` is set when it was waited for.

        Raises:
            DatasetError: the data set cannot be read or trained on.
            DatasetNotFoundError: there is no data set with that id.
            InvalidArgumentError: a hyper-parameter out of range, a bad name.
            CancelledError: the job was cancelled.
            LabelmillError: the run failed; the class goes by its reason.
        """
        create_on = training.create(model=model, alias=alias, request_id=request_id, config=config)
        if isinstance(dataset, str) and training.is_dataset_id(dataset):
            dataset_id = dataset
        elif isinstance(dataset, Dataset):
            dataset_id = dataset.id
        else:
            dataset_id = self.upload_dataset(
                dataset, text_column=text_column, label_column=label_column
            ).id
        job = self._transport.unary(create_on(dataset_id))
        if not wait:
            return job
        for event in self.watch_training(job.id):
            if on_event is not None:
                on_event(event)
        job = self.get_training_job(job.id)
        if not job.state.successful:
            raise jobs.failure(job.id, job.state, job.error, job.error_fields)
        return job

    def get_training_job(self, job_id: str, *, timeout: float | None = None) -> TrainingJob:
        """The job now; raises JobNotFoundError."""
        return self._transport.unary(training.get(job_id), timeout)

    def list_training_jobs(
        self, *, page_size: int = 100, timeout: float | None = None
    ) -> Iterator[TrainingJob]:
        """Jobs, newest first, read page by page."""
        return self._transport.pages(lambda token: training.list_page(page_size, token), timeout)

    def watch_training(
        self, job_id: str, *, after_sequence: int = 0, timeout: float | None = None
    ) -> Iterator[TrainingEvent]:
        """The events after `after_sequence` until the job is final, across reconnects."""
        return self._transport.follow(TrainingWatch(job_id, after_sequence), timeout_s=timeout)

    def cancel_training(self, job_id: str, *, timeout: float | None = None) -> TrainingJob:
        """Stops the run within seconds.

        Raises:
            JobNotFoundError: there is no such job.
            FailedPreconditionError: it has already finished.
        """
        return self._transport.unary(training.cancel(job_id), timeout)
