from __future__ import annotations

import os
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

from labelmill.settings import ServerSettings, WorkerSettings

SYSTEMD = ROOT / "deploy" / "systemd"


def variables() -> dict[str, str]:
    lines = (SYSTEMD / "labelmill.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_every_variable_is_a_setting_and_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {*ServerSettings.model_fields, *WorkerSettings.model_fields}
    given = variables()
    assert {name.removeprefix("LABELMILL_").lower() for name in given} <= fields
    for name in [name for name in os.environ if name.startswith("LABELMILL_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert ServerSettings().metrics_port == 9464
    assert WorkerSettings().engines == ["onnx"]
    assert WorkerSettings().registry == Path("/var/lib/labelmill/registry")


@pytest.mark.parametrize("part", ["server", "worker"])
def test_units_start_what_exists_and_wait_for_the_drain(part: str) -> None:
    unit = ConfigParser()
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(SYSTEMD / f"labelmill-{part}.service")
    module = unit["Service"]["ExecStart"].split()[-1]
    assert module == f"labelmill.{part}"
    assert find_spec(f"{module}.__main__") is not None
    drain_s = float(variables()["LABELMILL_DRAIN_S"])
    assert float(unit["Service"]["TimeoutStopSec"]) >= drain_s + 10
