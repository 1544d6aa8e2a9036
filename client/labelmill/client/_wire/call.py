"""One RPC as a value: where it goes, what is sent, how the answer is read.

Owns no I/O; the transports send these. Whether a call may be repeated is decided here, because it
depends on what the RPC does, not on how it is sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Method(Generic[_Request, _Response]):
    """An RPC of the service: its path and its two message types."""

    path: str
    request: type[_Request]
    response: type[_Response]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A unary RPC, ready to be sent."""

    method: Method[Any, Any]
    request: Message
    parse: Callable[[Any], T]
    #: False when a second execution would do something else than the first.
    repeatable: bool = True


def call(
    method: Method[_Request, _Response],
    request: _Request,
    parse: Callable[[_Response], T],
    *,
    repeatable: bool = True,
) -> Call[T]:
    """A `Call` whose request and parser match `method`; the type checker sees to it."""
    return Call(method, request, parse, repeatable)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; `next_token` is empty on the last."""

    items: list[T]
    next_token: str


class Cursor(ABC, Generic[T]):
    """A server stream that can be taken up again where it broke off."""

    method: Method[Any, Any]

    @abstractmethod
    def request(self) -> Message:
        """What asks for everything not yet received."""

    @abstractmethod
    def receive(self, response: Any) -> T:
        """Reads one message and remembers it as received."""

    @abstractmethod
    def complete(self, *, ended: bool) -> bool:
        """True when nothing more is due; `ended`: the server closed the stream in order."""
