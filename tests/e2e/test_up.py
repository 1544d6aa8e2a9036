from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import tiny
from commands import StartUp, alive, cli

from labelmill.client import Client
from labelmill.registry import Registry


def wait_until_gone(pids: list[int]) -> None:
    """Waits until none of `pids` runs any more."""
    deadline = time.monotonic() + 20
    while left := alive(pids):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


def test_it_serves_until_ctrl_c_and_leaves_no_process(data_dir: Path, start_up: StartUp) -> None:
    tiny.publish(Registry(data_dir / "registry"))
    up = start_up(data_dir, "--workers", 2)
    pids = up.ready["pids"]
    assert sorted(pids) == ["server", "valkey", "worker-1", "worker-2"]
    with Client(up.address) as client:
        assert client.classify("great", model="tiny@1").results[0].label == "good"
    assert up.end(signal.SIGINT) == 0
    assert alive(list(pids.values())) == []


@pytest.mark.timeout(120)
def test_jobs_and_aliases_outlive_it(data_dir: Path, start_up: StartUp) -> None:
    registry = Registry(data_dir / "registry")
    tiny.publish(registry)
    tiny.publish(registry)
    first = start_up(data_dir)
    with Client(first.address) as client:
        client.set_alias("tiny", "stable", 1)
        job = client.create_job(["great", "dull"], model="tiny@stable")
        rows = list(client.results(job.id))
    assert first.end(signal.SIGTERM) == 0
    second = start_up(data_dir)
    with Client(second.address) as client:
        assert list(client.results(job.id)) == rows
        assert client.get_job(job.id).state == "SUCCEEDED"
        assert client.classify("dull", model="tiny@stable").version == 1
    assert [row.label for row in rows] == ["good", "bad"]
    assert second.end() == 0


@pytest.mark.timeout(120)
def test_a_worker_that_dies_is_replaced(data_dir: Path, start_up: StartUp) -> None:
    tiny.publish(Registry(data_dir / "registry"))
    up = start_up(data_dir)
    os.kill(up.ready["pids"]["worker-1"], signal.SIGKILL)
    assert "signal 9" in up.wait_for_line("worker-1 ended")
    with Client(up.address) as client:
        # Refused at once while no worker lives, and answered by the new one from then on.
        deadline = time.monotonic() + 40
        labels = [row.label for row in client.score(["great"], model="tiny@1", timeout=40)]
    assert labels == ["good"]
    assert time.monotonic() < deadline
    assert up.end() == 0


@pytest.mark.timeout(120)
def test_killed_itself_it_takes_everything_along_and_starts_again(
    data_dir: Path, start_up: StartUp
) -> None:
    tiny.publish(Registry(data_dir / "registry"))
    up = start_up(data_dir)
    with Client(up.address) as client:
        job = client.create_job(["great"], model="tiny@1")
        assert [row.label for row in client.results(job.id)] == ["good"]
    up.end(signal.SIGKILL)
    wait_until_gone(list(up.ready["pids"].values()))
    again = start_up(data_dir)
    with Client(again.address) as client:
        assert [row.label for row in client.results(job.id)] == ["good"]
    assert again.end() == 0


def test_one_data_dir_and_one_port_are_for_one_up(data_dir: Path, start_up: StartUp) -> None:
    up = start_up(data_dir / "a")
    same_folder = cli("up", "--data-dir", data_dir / "a", "--port", 0)
    assert same_folder.returncode == 1
    assert f"process {up.process.pid}" in same_folder.stderr
    assert "--data-dir" in same_folder.stderr
    port = up.address.rpartition(":")[2]
    same_port = cli("up", "--data-dir", data_dir / "b", "--port", port)
    assert same_port.returncode == 1
    assert f"127.0.0.1:{port}" in same_port.stderr
    assert "--port" in same_port.stderr
    assert up.end() == 0


def test_a_path_too_long_for_a_socket_will_do(data_dir: Path, start_up: StartUp) -> None:
    up = start_up(data_dir / ("long" * 30))
    assert up.ready["redis_url"].startswith("redis://127.0.0.1:")
    assert up.end() == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--redis-url", "redis://127.0.0.1:1/0"), "redis://127.0.0.1:1/0"),
        (("--redis-url", "ftp://x"), "redis_url"),
        (("--engines", "tensorrt"), "engines: 'tensorrt'"),
        (("--workers", "0"), "--workers"),
    ],
)
def test_what_cannot_start_says_why_and_leaves_nothing(
    data_dir: Path, options: tuple[str, ...], says: str
) -> None:
    done = cli("up", "--data-dir", data_dir, "--port", 0, *options)
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
