from __future__ import annotations

import pytest
from unit.client.fake_server import FakeServer

from labelmill import errors
from labelmill.client import AsyncClient, Client, RetryPolicy

ONCE = RetryPolicy(max_attempts=1)

EVERY_CLASS = sorted(errors.by_reason().values(), key=lambda cls: cls.__name__)
#: LabelmillError itself and its client-side kin have no status that a server would send.
SENT = [cls for cls in EVERY_CLASS if cls is not errors.LabelmillError]


def sample(cls: type[errors.LabelmillError]) -> errors.LabelmillError:
    return cls(
        f"a message of {cls.__name__} – with a remedy",
        violations=[errors.FieldViolation("texts[3]", "is empty")],
        retry_after_s=1.5,
        metadata={"expected_offset": "7"},
    )


def assert_same(raised: errors.LabelmillError, sent: errors.LabelmillError) -> None:
    assert type(raised) is type(sent)
    assert raised.message == sent.message
    assert raised.violations == sent.violations
    assert raised.retry_after_s == sent.retry_after_s
    assert raised.metadata == sent.metadata


@pytest.mark.parametrize("cls", SENT)
def test_every_error_arrives_as_it_was_raised(
    fake: FakeServer, cls: type[errors.LabelmillError]
) -> None:
    fake.fail("GetScoringJob", sample(cls))
    with Client(fake.address, retry=ONCE) as client, pytest.raises(cls) as caught:
        client.get_job("x")
    assert_same(caught.value, sample(cls))


@pytest.mark.parametrize("cls", SENT)
async def test_every_error_arrives_as_it_was_raised_on_asyncio(
    fake: FakeServer, cls: type[errors.LabelmillError]
) -> None:
    fake.fail("GetScoringJob", sample(cls))
    async with AsyncClient(fake.address, retry=ONCE) as client:
        with pytest.raises(cls) as caught:
            await client.get_job("x")
    assert_same(caught.value, sample(cls))


def test_no_server_names_the_address_and_the_remedy() -> None:
    with (
        Client("127.0.0.1:1", retry=ONCE) as client,
        pytest.raises(errors.ServerUnavailableError, match=r"127\.0\.0\.1:1; start one with"),
    ):
        client.get_job("x")


def test_a_method_the_server_does_not_have_is_unimplemented(client: Client) -> None:
    with pytest.raises(errors.UnimplementedError):
        client.delete_version("reviews", 1)


def test_a_status_of_another_domain_goes_by_its_code(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.fail("GetScoringJob", errors.ModelNotFoundError("from a proxy"))
    monkeypatch.setattr(errors, "DOMAIN", "proxy.example")
    with Client(fake.address, retry=ONCE) as client, pytest.raises(errors.NotFoundError) as caught:
        client.get_job("x")
    assert type(caught.value) is errors.NotFoundError


@pytest.mark.parametrize("address", ["localhost", "host:port", "127.0.0.1:70000", "a b:1", ":5"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="use host:port") as caught:
        Client(address)
    assert caught.value.violations[0].field == "address"


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELMILL_ADDRESS", "10.0.0.1:99")
    with Client() as client:
        assert client.address == "10.0.0.1:99"
    with Client("dns:///labelmill.example:443") as client:
        assert client.address == "dns:///labelmill.example:443"


def test_a_closed_client_says_so(client: Client) -> None:
    client.close()
    client.close()
    with pytest.raises(errors.FailedPreconditionError, match="closed"):
        client.get_job("x")
