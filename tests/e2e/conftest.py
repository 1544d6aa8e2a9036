from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import StartUp, Up, cli


@pytest.fixture
def start_up() -> Iterator[StartUp]:
    """Starts `labelmill up`; what still runs at the end of the test is killed."""
    started: list[Up] = []

    def start(data_dir: Path, *options: object) -> Up:
        up = Up(data_dir, *options)
        started.append(up)
        return up

    yield start
    for up in started:
        up.close()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder with a short path, as a unix socket needs."""
    with tempfile.TemporaryDirectory(prefix="lm-") as folder:
        yield Path(folder)


class Demo:
    """A finished `labelmill demo --json`."""

    def __init__(self, data_dir: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.data_dir = data_dir
        self.done = done

    @property
    def result(self) -> dict[str, Any]:
        """What it printed on stdout."""
        result: dict[str, Any] = json.loads(self.done.stdout)
        return result


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    """The demo, run once; its trained model serves other tests too."""
    with tempfile.TemporaryDirectory(prefix="lm-") as folder:
        data_dir = Path(folder) / "demo"
        done = cli("demo", "--json", "--data-dir", data_dir, timeout_s=500)
        yield Demo(data_dir, done)
