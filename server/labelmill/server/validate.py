"""Checks of requests, field by field. Raises InvalidArgumentError with every field's path.

Owns what a request must look like; whether the model exists or there is room is asked elsewhere.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Sequence
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from labelmill.errors import FieldViolation, InvalidArgumentError, UnimplementedError
from labelmill.server.errors import MAX_VIOLATIONS
from labelmill.v1.classification_pb2 import (
    LONG_TEXT_POLICY_SLIDING_WINDOW,
    LongTextPolicy,
    ScoringOptions,
)
from labelmill.v1.scoring_pb2 import ScoringItem

#: Texts of one Classify call.
MAX_TEXTS = 256

#: Bytes of UTF-8 in one text.
MAX_TEXT_BYTES = 1 << 20

#: Items of one CreateScoringJob or UploadScoringItems message.
MAX_ITEMS = 10_000

#: Bytes of one UploadScoringItems message; a single larger text may exceed it.
MAX_UPLOAD_BYTES = 4 << 20

#: Bytes of an item's id, a display name or a column's name.
MAX_NAME_BYTES = 256

#: Metadata key of the tenant a call is for.
TENANT_KEY = "labelmill-tenant"

#: Tenant of calls that name none.
DEFAULT_TENANT = "default"

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Violations:
    """Collects what is wrong with a request, to tell all of it at once."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def add(self, field: str, description: str) -> None:
        """Notes one more."""
        self._found.append(FieldViolation(field, description))

    def check(self) -> None:
        """Raises InvalidArgumentError when anything was noted."""
        if not self._found:
            return
        named = [f"{v.field}: {v.description}" for v in self._found[:MAX_VIOLATIONS]]
        more = len(self._found) - len(named)
        message = "; ".join(named) + (f"; and {more} more" if more else "")
        raise InvalidArgumentError(message, violations=self._found[:MAX_VIOLATIONS])


def texts(given: Sequence[str], field: str = "texts") -> None:
    """1 to MAX_TEXTS texts, none blank, none over MAX_TEXT_BYTES."""
    if not given:
        raise InvalidArgumentError.at(field, f"is empty; send 1 to {MAX_TEXTS} texts")
    if len(given) > MAX_TEXTS:
        raise InvalidArgumentError.at(
            field,
            f"has {len(given)} texts; send at most {MAX_TEXTS} a call, or create a scoring job",
        )
    wrong = Violations()
    for index, text in enumerate(given):
        if not text or text.isspace():
            wrong.add(f"{field}[{index}]", "is empty or blank; leave it out")
        else:
            _length(text, f"{field}[{index}]", wrong)
    wrong.check()


def items(given: Sequence[ScoringItem], field: str) -> None:
    """At most MAX_ITEMS items with texts and ids of bounded length; empty texts are let pass."""
    if len(given) > MAX_ITEMS:
        raise InvalidArgumentError.at(
            field, f"has {len(given)} items; send at most {MAX_ITEMS} a message"
        )
    wrong = Violations()
    for index, item in enumerate(given):
        _length(item.text, f"{field}[{index}].text", wrong)
        if _too_long(item.id, MAX_NAME_BYTES):
            wrong.add(f"{field}[{index}].id", f"is longer than {MAX_NAME_BYTES} bytes; shorten it")
    wrong.check()


def options(given: ScoringOptions, field: str = "options") -> None:
    """Options in range.

    Raises:
        UnimplementedError: a policy that comes with a later release.
    """
    wrong = Violations()
    if given.top_k < 0:
        wrong.add(f"{field}.top_k", f"is {given.top_k}; use 0 for all labels, or a positive number")
    if given.HasField("threshold") and not 0 <= given.threshold <= 1:
        wrong.add(f"{field}.threshold", f"is {given.threshold:g}; use 0 to 1")
    if given.long_text_policy not in LongTextPolicy.values():
        wrong.add(
            f"{field}.long_text_policy",
            f"is {given.long_text_policy}, which is no policy; use "
            + ", ".join(LongTextPolicy.keys()[1:]),
        )
    wrong.check()
    if given.long_text_policy == LONG_TEXT_POLICY_SLIDING_WINDOW:
        raise UnimplementedError(
            f"{field}.long_text_policy: sliding windows come with a later release; use TRUNCATE "
            "or REJECT"
        )


def request_id(given: str) -> None:
    """Empty, or a UUID4 in canonical form."""
    if not given:
        return
    try:
        parsed = uuid.UUID(given)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != given or parsed.version != 4:
        raise InvalidArgumentError.at(
            "request_id", "is no UUID4 in canonical form, e.g. from uuid.uuid4()"
        )


def name(given: str, field: str) -> None:
    """At most MAX_NAME_BYTES bytes."""
    if _too_long(given, MAX_NAME_BYTES):
        raise InvalidArgumentError.at(field, f"is longer than {MAX_NAME_BYTES} bytes; shorten it")


def choice(given: int, kind: Any, field: str) -> None:
    """One of the enum's named values, UNSPECIFIED included."""
    if given not in kind.values():
        raise InvalidArgumentError.at(
            field, f"is {given}, which is none of {', '.join(kind.keys()[1:])}"
        )


def share(given: float, field: str) -> None:
    """In [0, 1]."""
    if not 0 <= given <= 1:
        raise InvalidArgumentError.at(field, f"is {given:g}; use 0 to 1")


def moment_ms(given: Timestamp, field: str) -> int:
    """A future moment as ms since the epoch."""
    try:
        moment = given.ToMilliseconds()
    except ValueError as error:
        raise InvalidArgumentError.at(field, f"is no time: {error}") from error
    if moment <= time.time() * 1000:
        raise InvalidArgumentError.at(field, "has passed already; give a later one")
    return moment


def duration_ms(given: Duration, field: str, *, most_days: int) -> int:
    """A positive duration of at most `most_days` days, in ms."""
    try:
        length = given.ToMilliseconds()
    except ValueError as error:
        raise InvalidArgumentError.at(field, f"is no duration: {error}") from error
    if not 0 < length <= most_days * 86_400_000:
        raise InvalidArgumentError.at(
            field, f"is {length / 1000:g} s; use more than 0 s and at most {most_days} days"
        )
    return length


def tenant(context: Any) -> str:
    """The tenant in the call's metadata."""
    for key, value in context.invocation_metadata() or ():
        if key == TENANT_KEY:
            if isinstance(value, str) and _TENANT.fullmatch(value):
                return value
            raise InvalidArgumentError.at(
                TENANT_KEY,
                "is no tenant; use 1 to 64 letters, digits, '-', '_' or '.', starting with a "
                "letter or digit",
            )
    return DEFAULT_TENANT


def _length(text: str, field: str, wrong: Violations) -> None:
    if _too_long(text, MAX_TEXT_BYTES):
        wrong.add(field, f"has {len(text.encode())} bytes, at most {MAX_TEXT_BYTES} are taken")


def _too_long(text: str, most_bytes: int) -> bool:
    # No character has more than four bytes: most texts need no encoding to be sure.
    return len(text) * 4 > most_bytes and len(text.encode()) > most_bytes
