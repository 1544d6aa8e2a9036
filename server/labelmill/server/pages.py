"""Page sizes and opaque page tokens. A token is good for the list, and the job, it came from."""

from __future__ import annotations

import base64
import binascii
import json

from labelmill.errors import InvalidArgumentError


def page_size(asked: int, *, default: int, most: int) -> int:
    """The size to use; 0 means `default`. Raises InvalidArgumentError outside 1 to `most`."""
    if asked == 0:
        return default
    if not 0 < asked <= most:
        raise InvalidArgumentError.at("page_size", f"is {asked}; use 1 to {most}")
    return asked


def token(kind: str, *values: int | str) -> str:
    """A token that `values_of` reads again."""
    text = json.dumps([kind, *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def values_of(
    kind: str, given: str, *types: type[int | str], field: str = "page_token"
) -> list[int | str]:
    """The values that `token` was made of.

    Raises:
        InvalidArgumentError: `given` is not a token of this kind with values of `types`.
    """
    try:
        padded = given + "=" * (-len(given) % 4)
        read = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _foreign(field) from None
    if not isinstance(read, list) or len(read) != len(types) + 1 or read[0] != kind:
        raise _foreign(field)
    values: list[int | str] = read[1:]
    if any(type(value) is not wanted for value, wanted in zip(values, types, strict=True)):
        raise _foreign(field)
    if any(isinstance(value, int) and not 0 <= value < 2**63 for value in values):
        raise _foreign(field)
    return values


def _foreign(field: str) -> InvalidArgumentError:
    return InvalidArgumentError.at(
        field, "is none that this list gave out; leave it empty to start at the beginning"
    )
