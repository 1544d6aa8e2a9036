"""The manifest: everything a version says about itself. Immutable once registered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: File names within a version's directory.
MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"
ONNX_FP32_FILE = "model.fp32.onnx"
ONNX_INT8_FILE = "model.int8.onnx"
TORCH_DIR = "torch"
GOLDEN_FILE = "golden.json"
REPORT_FILE = "report.json"
REPORT_PAGE = "report.html"


class _Frozen(BaseModel):
    # A gate may have come out as NaN, which JSON's null would not bring back.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Artifact(_Frozen):
    """One file of a version."""

    size_bytes: int
    sha256: str


class Gate(_Frozen):
    """One thing an exported model had to prove."""

    name: str
    value: float
    limit: float
    at_least: bool = Field(description="value >= limit passes when true, value <= limit when false")

    @property
    def passed(self) -> bool:
        """Whether the value keeps the limit; NaN never does."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


class Description(_Frozen):
    """What the maker of a version states; the registry adds name, number and checksums."""

    base_model: str
    architecture: str = Field(description="Hugging Face model type, e.g. bert")
    labels: list[str] = Field(min_length=2)
    problem_type: Literal["single_label", "multi_label"] = "single_label"
    max_length: int = Field(description="tokens a text, special tokens included")
    pad_token_id: int
    temperature: float = Field(1.0, gt=0, description="logits are divided by it before softmax")
    threshold: float = Field(0.0, ge=0, le=1, description="UNKNOWN below it; 0 switches it off")
    label_thresholds: list[float] | None = Field(
        None, description="per label, for multi-label versions"
    )
    engines: list[str] = Field(min_length=1, description="concrete engines, the default first")
    int8: dict[str, Any] | None = Field(None, description="recipe and instruction set of the INT8")
    gates: list[Gate] = []
    metrics: dict[str, float] = Field({}, description="on the test split, e.g. int8.accuracy")
    training: dict[str, Any] = {}
    versions: dict[str, str] = Field({}, description="of the libraries that made it")

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> Description:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
        if self.label_thresholds is not None and len(self.label_thresholds) != len(self.labels):
            raise ValueError("label_thresholds must have one value a label")
        return self


class Manifest(Description):
    """A registered version's description with its identity and checksums."""

    schema_version: Literal[1] = 1
    model: str
    version: int = Field(ge=1)
    created_at: datetime
    artifacts: dict[str, Artifact]
