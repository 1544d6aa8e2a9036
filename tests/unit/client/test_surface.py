"""The two clients offer the same, and what they send exists on the wire."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest
from google.protobuf import descriptor_pool

import labelmill.client
from labelmill import settings
from labelmill.client import AsyncClient, Client
from labelmill.client._wire import target
from labelmill.client._wire.call import Method
from labelmill.v1 import classification_pb2, models_pb2, scoring_pb2, training_pb2

ASYNC_NAMES = {"__aenter__": "__enter__", "__aexit__": "__exit__"}

#: Differences that are meant: an async iterable as input, an async iterator as output.
WIDER = {
    "AsyncIterator": "Iterator",
    "Iterable[str] | AsyncIterable[str]": "Iterable[str]",
}


def methods(cls: type) -> dict[str, inspect.Signature]:
    return {
        ASYNC_NAMES.get(name, name): inspect.signature(member)
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") or name in ("__init__", *ASYNC_NAMES, *ASYNC_NAMES.values())
    }


def normal(signature: inspect.Signature) -> str:
    text = str(signature)
    for wide, plain in WIDER.items():
        text = text.replace(wide, plain)
    return text


def test_the_twins_have_the_same_surface() -> None:
    blocking, asyncio = methods(Client), methods(AsyncClient)
    assert len(blocking) > 25
    assert {name: normal(s) for name, s in blocking.items()} == {
        name: normal(s) for name, s in asyncio.items()
    }


def test_every_public_method_says_what_it_does() -> None:
    for cls in (Client, AsyncClient):
        for name, member in inspect.getmembers(cls, inspect.isfunction):
            assert name.startswith("_") or inspect.getdoc(member), name


def test_what_is_exported_exists() -> None:
    assert sorted(labelmill.client.__all__) == labelmill.client.__all__
    for name in labelmill.client.__all__:
        assert hasattr(labelmill.client, name)


@pytest.mark.parametrize(
    "module", ["classification", "jobs", "upload", "results", "training", "models"]
)
def test_methods_match_the_protos(module: str) -> None:
    assert classification_pb2, (models_pb2, scoring_pb2, training_pb2)
    wire = import_module(f"labelmill.client._wire.{module}")
    found = [value for value in vars(wire).values() if isinstance(value, Method)]
    assert found
    for method in found:
        service, name = method.path.removeprefix("/").split("/")
        rpc = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
        assert method.request.DESCRIPTOR is rpc.input_type
        assert method.response.DESCRIPTOR is rpc.output_type


def test_client_and_server_agree_on_address_and_message_size() -> None:
    assert settings.DEFAULT_ADDRESS == target.DEFAULT_ADDRESS
    fields = settings.ServerSettings.model_fields
    assert fields["max_message_bytes"].default == target.MAX_MESSAGE_BYTES
