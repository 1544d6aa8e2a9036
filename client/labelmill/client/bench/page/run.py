"""A run of `bench offline` as its JSON has it, checked; unknown fields are let pass."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, ValidationError

from labelmill.client.bench.offline import ENGINES
from labelmill.errors import FieldViolation, InvalidArgumentError

#: Whose speed the others are multiples of, where it ran.
PIPELINE = "hf-pipeline-fp32"

#: Most violations named in one message.
_MOST_NAMED = 3


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Row(_Part):
    """One contender; see `labelmill.client.bench.figures.Figures`. Older runs lack some fields."""

    name: str = Field(min_length=1)
    texts_per_second: PositiveFloat
    texts_per_second_min: PositiveFloat | None = None
    texts_per_second_max: PositiveFloat | None = None
    round_texts_per_second: list[PositiveFloat] = []
    tokens_per_second: float | None = None
    p50_ms: PositiveFloat | None = None
    p99_ms: PositiveFloat | None = None
    alone_ms: dict[str, PositiveFloat] = {}
    accuracy: float | None = Field(None, ge=0, le=1)
    label_agreement: float | None = Field(None, ge=0, le=1)
    texts_compared: NonNegativeInt | None = None
    batch_flips: NonNegativeInt | None = None
    peak_share: float | None = Field(None, ge=0)
    texts: NonNegativeInt | None = None
    texts_alone: NonNegativeInt | None = None
    load_seconds: float | None = Field(None, ge=0)
    peak_memory_bytes: NonNegativeInt | None = None
    file_bytes: NonNegativeInt | None = None

    @property
    def ours(self) -> bool:
        """Whether it is one of labelmill's engines."""
        return self.name in ENGINES

    @property
    def rates(self) -> list[float]:
        """Texts a second of each round; of older runs only of the slowest and the fastest."""
        ends = (self.texts_per_second_min, self.texts_per_second_max)
        return self.round_texts_per_second or [rate for rate in ends if rate is not None]

    @property
    def slowest(self) -> float | None:
        """Texts a second of the slowest round."""
        return min(self.rates, default=None)

    @property
    def fastest(self) -> float | None:
        """Texts a second of the fastest round."""
        return max(self.rates, default=None)

    @property
    def spread(self) -> float:
        """How far the rounds lie apart, as a share of their median; 0 where none is known."""
        if self.slowest is None or self.fastest is None:
            return 0.0
        return (self.fastest - self.slowest) / self.texts_per_second

    @property
    def compared(self) -> int | None:
        """Texts that `label_agreement` is a share of; runs of older releases do not say."""
        return self.texts if self.texts_compared is None else self.texts_compared

    @property
    def differing(self) -> int | None:
        """Texts with another label than the reference's."""
        if self.label_agreement is None or self.compared is None:
            return None
        return round((1 - self.label_agreement) * self.compared)

    @property
    def percentiles(self) -> dict[int, float]:
        """Percentile → milliseconds of one text alone."""
        known = {50: self.p50_ms, 99: self.p99_ms}
        found = {rank: value for rank, value in known.items() if value is not None}
        for key, value in self.alone_ms.items():
            if key[:1] == "p" and key[1:].isdecimal():
                found[int(key[1:])] = value
        return found


class Tokens(_Part):
    """Lengths of the texts."""

    mean: float | None = None
    median: float | None = None
    max: int | None = None


class Host(_Part):
    """The machine and its libraries."""

    cpu: str = ""
    usable_cores: int | None = None
    instruction_sets: list[str] = []
    memory_bytes: int | None = None
    system: str = ""
    python: str = ""
    libraries: dict[str, str] = {}


class Skipped(_Part):
    """What was left out."""

    name: str
    reason: str = ""


class Run(_Part):
    """The whole run; `contenders` is sorted, the fastest first."""

    model: str
    version: int | str
    threads: int | None = None
    rounds: int | None = None
    texts: NonNegativeInt
    source: str = ""
    tokens: Tokens = Tokens()
    host: Host = Host()
    ceiling_macs_per_second: PositiveFloat | None = None
    reference: str | None = None
    measured_at: str = ""
    seconds: float | None = None
    command: str = ""
    contenders: list[Row] = Field(min_length=1)
    skipped: list[Skipped] = []

    @property
    def base(self) -> Row:
        """Whose speed is 1×: the pipeline, else the reference, else the slowest."""
        wanted = (PIPELINE, self.reference)
        named = (row for name in wanted for row in self.contenders if row.name == name)
        return next(named, self.contenders[-1])

    def ratio(self, row: Row) -> float:
        """The speed of `row` as a multiple of that of `base`."""
        return row.texts_per_second / self.base.texts_per_second


def read(document: Any) -> Run:
    """The run that `document`, the object of ``bench offline --json``, describes.

    Raises:
        InvalidArgumentError: it is something else, or a field is wrong.
    """
    if not isinstance(document, dict) or document.get("benchmark") != "offline":
        raise InvalidArgumentError.at(
            "run", "this is not the JSON of `labelmill bench offline --json`; give a file of that"
        )
    try:
        run = Run.model_validate(document)
    except ValidationError as error:
        raise _invalid(error) from error
    ordered = sorted(run.contenders, key=lambda row: -row.texts_per_second)
    return run.model_copy(update={"contenders": ordered})


def _invalid(error: ValidationError) -> InvalidArgumentError:
    violations = [
        FieldViolation(".".join(map(str, detail["loc"])), detail["msg"])
        for detail in error.errors(include_url=False)
    ]
    named = "; ".join(f"{field}: {said}" for field, said in violations[:_MOST_NAMED])
    return InvalidArgumentError(
        f"this is no whole run of bench offline: {named}", violations=violations
    )
