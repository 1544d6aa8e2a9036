from __future__ import annotations

from pathlib import Path

import pytest
import redis
import tiny

from labelmill.errors import ModelNotFoundError
from labelmill.queue import aliases
from labelmill.registry import Registry
from labelmill.worker.bench.prepare import resolve


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path)
    tiny.publish(registry)
    tiny.publish(registry)
    return registry


def test_without_redis_a_bare_name_is_the_newest_version(registry: Registry) -> None:
    assert resolve(registry, "tiny", None) == ("tiny", 2)
    assert resolve(registry, "tiny@1", None) == ("tiny", 1)


def test_a_redis_that_is_away_is_as_good_as_none(registry: Registry) -> None:
    assert resolve(registry, "tiny", "redis://127.0.0.1:1/0") == ("tiny", 2)


def test_aliases_are_those_in_redis(registry: Registry, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        aliases.point(client, "tiny", "default", 1)
    assert resolve(registry, "tiny", redis_url) == ("tiny", 1)


@pytest.mark.parametrize(
    ("model", "says"),
    [("none", "no model 'none'"), ("tiny@7", "no version 7"), ("tiny@blue", "alias 'blue'")],
)
def test_what_does_not_exist_is_named(registry: Registry, model: str, says: str) -> None:
    with pytest.raises(ModelNotFoundError, match=says):
        resolve(registry, model, None)
