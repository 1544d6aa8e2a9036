from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tiny
from commands import StartUp
from conftest import ROOT

from labelmill.registry import Registry


def example(name: str, *args: str, address: str, stdin: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *args],
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "LABELMILL_ADDRESS": address},
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_example_scripts_run(data_dir: Path, start_up: StartUp) -> None:
    tiny.publish(Registry(data_dir / "registry"))
    up = start_up(data_dir)
    code, out, _ = example("classify.py", "tiny@1", "great", "dull", address=up.address)
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["good", "bad"]
    lines = "great\n\ndull\n" * 300
    code, out, _ = example("score_stream.py", "tiny@1", address=up.address, stdin=lines)
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["good", "bad"] * 300
    code, _, said = example("classify.py", "none", "great", address=up.address)
    assert code == 1
    assert "none" in said
    assert "Traceback" not in said
    assert up.end() == 0
