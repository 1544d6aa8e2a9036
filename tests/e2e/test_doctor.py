from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis
import tiny
from commands import StartUp, cli

from labelmill.registry import Registry


def doctor(*options: object) -> tuple[int, dict[str, Any]]:
    """Exit code, and checks by name."""
    done = cli("doctor", "--json", *options)
    document = json.loads(done.stdout)
    return done.returncode, {check["name"]: check for check in document["checks"]}


def test_a_sound_installation_has_no_failure(data_dir: Path, start_up: StartUp) -> None:
    tiny.publish(Registry(data_dir / "registry"))
    up = start_up(data_dir)
    code, checks = doctor("--data-dir", data_dir)
    assert code == 0
    assert up.address in checks["server"]["detail"]
    assert "tiny" in checks["server"]["detail"]
    assert "self-test" in checks["model tiny@1"]["detail"]
    assert checks["durability"]["status"] == "ok"
    assert [name for name in checks if name.startswith("worker ")]
    with redis.Redis.from_url(up.ready["redis_url"]) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    code, checks = doctor("--data-dir", data_dir)
    assert code == 1
    assert "CONFIG SET maxmemory-policy noeviction" in checks["redis"]["remedy"]


def test_without_up_models_are_still_checked(data_dir: Path) -> None:
    registry = Registry(data_dir / "registry")
    tiny.publish(registry)
    code, checks = doctor("--data-dir", data_dir)
    assert code == 0
    assert checks["server"]["status"] == "warn"
    file = registry.path("tiny", 1) / "model.fp32.onnx"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    code, checks = doctor("--data-dir", data_dir)
    assert code == 1
    assert "model.fp32.onnx" in checks["model tiny@1"]["detail"]
    assert checks["model tiny@1"]["remedy"]


def test_what_was_named_and_is_away_is_a_failure(data_dir: Path) -> None:
    nowhere = "127.0.0.1:1"
    code, checks = doctor(
        "--data-dir", data_dir, "--redis-url", f"redis://{nowhere}/0", "--address", nowhere
    )
    assert code == 1
    assert checks["redis"]["status"] == checks["server"]["status"] == "fail"
    assert checks["redis"]["remedy"]
