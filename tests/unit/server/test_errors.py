from __future__ import annotations

import errno

import pytest
from google.rpc import error_details_pb2
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from labelmill.errors import FieldViolation, InvalidArgumentError, by_reason
from labelmill.server.errors import clipped, from_exception, parse, to_status
from labelmill.v1.classification_pb2 import ClassifyRequest

#: gRPC refuses statuses above 16 KiB of headers and may refuse those above 8 KiB.
SAFE_BYTES = 8192


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RedisConnectionError("refused"), "QUEUE_UNAVAILABLE"),
        (ReadOnlyError("replica"), "QUEUE_UNAVAILABLE"),
        (ResponseError("MISCONF Errors writing to the AOF file"), "QUEUE_UNAVAILABLE"),
        (ResponseError("BUSY Redis is busy running a script"), "QUEUE_UNAVAILABLE"),
        (OutOfMemoryError("command not allowed"), "OVERLOADED"),
        (ResponseError("ERR OOM command not allowed when used memory"), "OVERLOADED"),
        (OSError(errno.ENOSPC, "No space left on device"), "OVERLOADED"),
        (NotImplementedError("Method not implemented!"), "UNIMPLEMENTED"),
    ],
)
def test_what_passes_by_itself_is_told_as_such(error: Exception, reason: str) -> None:
    known = from_exception(error)
    assert known is not None
    assert known.reason == reason


@pytest.mark.parametrize(
    "error", [KeyError("x"), ResponseError("WRONGTYPE of key"), OSError(errno.EIO, "io")]
)
def test_a_defect_is_not_dressed_up(error: Exception) -> None:
    assert from_exception(error) is None


def test_a_text_in_a_failed_command_is_not_repeated() -> None:
    error = ResponseError(
        "Command # 1 (SET req secret words) of pipeline caused error: ('BUSY Redis is busy',)"
    )
    known = from_exception(error)
    assert known is None or "secret" not in known.message
    assert known is not None


def test_every_class_of_the_tree_has_a_status() -> None:
    for cls in by_reason().values():
        status = to_status(cls("why"), "id")
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        assert (info.reason, info.domain) == (cls.reason, "labelmill")
        assert info.metadata["request_id"] == "id"


def test_the_largest_error_fits_into_the_headers() -> None:
    violations = [FieldViolation(f"texts[{i}]", "ж" * 5000) for i in range(256)]
    error = InvalidArgumentError(
        "ж" * 100_000, violations=violations, retry_after_s=1, metadata={"k": "ж" * 5000}
    )
    status = to_status(error, "id")
    base64_bytes = status.ByteSize() * 4 / 3
    percent_encoded = 3 * len(status.message.encode())
    assert base64_bytes + percent_encoded < SAFE_BYTES


def test_clipping_never_splits_a_character() -> None:
    assert clipped("short", 100) == "short"
    assert clipped("ж" * 100, 51).encode() <= ("ж" * 25).encode()
    assert clipped("\ud800 lone", 100) == "? lone"


def test_a_request_that_is_none_is_refused() -> None:
    assert parse(ClassifyRequest, b"").texts == []
    for payload in (b"\x12\x02\xff\xfe", b"\xff"):
        with pytest.raises(InvalidArgumentError, match=r"labelmill\.v1\.ClassifyRequest"):
            parse(ClassifyRequest, payload)
