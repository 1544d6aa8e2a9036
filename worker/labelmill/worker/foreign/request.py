"""What an import is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Field of the request that names the checkpoint, as errors call it.
SOURCE = "source_directory"


@dataclass(frozen=True)
class ImportRequest:
    """A directory, and how to turn it into a version of `model`."""

    #: Id of the job; the version remembers it.
    job: str
    model: str
    source_directory: Path
    #: Texts like those to classify; the built-in ones when empty.
    calibration_texts: tuple[str, ...] = ()
    #: Their right labels, one entry each, or none at all.
    calibration_labels: tuple[str, ...] = ()
    #: Tokens a text, special tokens included; None follows the checkpoint.
    max_length: int | None = None

    @classmethod
    def parse(cls, job: Mapping[str, Any]) -> ImportRequest:
        """Reads what the supervisor wrote for the child."""
        return cls(
            job=job["job"],
            model=job["model"],
            source_directory=Path(job["source_directory"]),
            calibration_texts=tuple(job["calibration_texts"]),
            calibration_labels=tuple(job["calibration_labels"]),
            max_length=job["max_length"],
        )
