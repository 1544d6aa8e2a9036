"""What every process of one benchmark run shares: written by `prepare`, read by contenders."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from labelmill.registry import Manifest, Registry

#: Name, in the run's folder, of the model as PyTorch's own exporter writes it.
PLAIN_FILE = "plain.onnx"

#: Name of the dynamically quantized file in the run's folder.
DYNAMIC_INT8_FILE = "dynamic-int8.onnx"


class Job(BaseModel):
    """One benchmark run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: Path
    model: str
    version: int
    #: Texts in file order.
    texts: list[str]
    #: True labels, as many as texts, or none.
    labels: list[str]
    #: Where the texts come from, for people.
    source: str
    #: Tokens of each text as the model sees it, special tokens included.
    token_counts: list[int]
    threads: int
    #: Folder of the run's own files.
    folder: Path

    @property
    def version_folder(self) -> Path:
        """Where the version's files lie."""
        return Registry(self.registry).path(self.model, self.version)

    def manifest(self) -> Manifest:
        """The version's manifest."""
        return Registry(self.registry).manifest(self.model, self.version)

    @classmethod
    def read(cls, file: Path) -> Job:
        """The job that `prepare` wrote."""
        return cls.model_validate_json(file.read_bytes())
