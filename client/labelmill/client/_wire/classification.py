"""Classify: its request, its answer, and the options that scoring jobs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from labelmill.client._wire.call import Call, Method, call
from labelmill.errors import InvalidArgumentError
from labelmill.v1 import classification_pb2 as pb

#: Texts in one Classify call.
MAX_TEXTS = 256

#: Bytes of UTF-8 in one text.
MAX_TEXT_BYTES = 1024 * 1024

LongText = Literal["truncate", "reject", "sliding_window"]

_POLICIES = {
    "truncate": pb.LONG_TEXT_POLICY_TRUNCATE,
    "reject": pb.LONG_TEXT_POLICY_REJECT,
    "sliding_window": pb.LONG_TEXT_POLICY_SLIDING_WINDOW,
}

CLASSIFY = Method(
    "/labelmill.v1.ClassificationService/Classify", pb.ClassifyRequest, pb.ClassifyResponse
)


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label and its calibrated probability in [0, 1]."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class ItemError:
    """Why one text, or one job, failed."""

    #: UPPER_SNAKE_CASE, e.g. ``EMPTY_TEXT``.
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Result:
    """The answer for one text. `label` is empty when `error` is set."""

    label: str
    #: Calibrated probability of the best label in [0, 1], also when `label` is ``UNKNOWN``.
    score: float
    #: Best first; all labels unless `top_k` said otherwise.
    scores: list[LabelScore]
    #: Tokens of the whole text, special tokens included.
    token_count: int
    truncated: bool
    #: Windows scored; 1 unless `long_text` was ``sliding_window``.
    windows: int
    error: ItemError | None


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer of one `classify` call; `results` are in the order of the texts."""

    results: list[Result]
    model: str
    version: int
    engine: str
    #: Milliseconds from admission to the start of tokenization.
    queue_ms: float
    tokenize_ms: float
    inference_ms: float
    #: Texts in the largest engine batch that held a text of this call.
    batch_size: int


def classify(
    texts: str | Sequence[str],
    *,
    model: str,
    engine: str | None,
    top_k: int,
    threshold: float | None,
    long_text: LongText,
) -> Call[Classification]:
    """The call behind ``Client.classify``; raises InvalidArgumentError for what cannot be sent."""
    if isinstance(texts, str):
        texts = [texts]
    if len(texts) > MAX_TEXTS:
        raise InvalidArgumentError.at(
            "texts",
            f"{len(texts)} texts are more than the {MAX_TEXTS} of one call; use `score` for many",
        )
    for index, text in enumerate(texts):
        check_text(text, f"texts[{index}]")
    request = pb.ClassifyRequest(
        model=model,
        texts=texts,
        engine=engine or "",
        options=scoring_options(top_k=top_k, threshold=threshold, long_text=long_text),
    )
    return call(CLASSIFY, request, _classification)


def check_text(text: object, field: str) -> str:
    """Returns `text`; raises InvalidArgumentError naming `field` when it cannot be sent."""
    if not isinstance(text, str):
        raise InvalidArgumentError.at(
            field, f"is of type {type(text).__name__}; every text must be a str"
        )
    # ASCII is its own UTF-8: the common text is not encoded just to be measured.
    if not text.isascii() or len(text) > MAX_TEXT_BYTES:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidArgumentError.at(
                field, f"is not valid Unicode (a lone surrogate at character {error.start})"
            ) from None
        if size > MAX_TEXT_BYTES:
            raise InvalidArgumentError.at(
                field, f"has {size:,} bytes of UTF-8; at most {MAX_TEXT_BYTES:,} are allowed"
            )
    return text


def scoring_options(
    *, top_k: int, threshold: float | None, long_text: LongText
) -> pb.ScoringOptions:
    """The options message; raises InvalidArgumentError for a policy that does not exist."""
    if long_text not in _POLICIES:
        raise InvalidArgumentError.at(
            "long_text", f"{long_text!r} is none of {', '.join(get_args(LongText))}"
        )
    if not 0 <= top_k < 2**31:
        raise InvalidArgumentError.at("top_k", f"{top_k} is not 0 (all labels) or more")
    return pb.ScoringOptions(
        top_k=top_k, threshold=threshold, long_text_policy=_POLICIES[long_text]
    )


def parse_result(message: pb.ClassificationResult) -> Result:
    """One text's answer."""
    return Result(
        label=message.label,
        score=message.score,
        scores=[LabelScore(entry.label, entry.score) for entry in message.scores],
        token_count=message.token_count,
        truncated=message.truncated,
        windows=message.windows,
        error=parse_error(message.error) if message.HasField("error") else None,
    )


def parse_error(message: pb.ItemError) -> ItemError:
    """An item's or a job's error."""
    return ItemError(message.reason, message.message)


def _classification(response: pb.ClassifyResponse) -> Classification:
    return Classification(
        results=[parse_result(result) for result in response.results],
        model=response.model,
        version=response.model_version,
        engine=response.engine,
        queue_ms=response.queue_ms,
        tokenize_ms=response.tokenize_ms,
        inference_ms=response.inference_ms,
        batch_size=response.batch_size,
    )
