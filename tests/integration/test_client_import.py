"""The client is light, and client, server and worker never import each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: What `pip install labelmill` without extras does not bring.
HEAVY = ("torch", "transformers", "onnxruntime", "redis", "numpy", "pyarrow", "tokenizers")

LIST_HEAVY = f"import sys; print([m for m in {HEAVY!r} if m in sys.modules])"


def run(code: str) -> str:
    """The last line that `code` prints in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=50
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "code",
    [
        "import labelmill.client",
        "from labelmill.client import Client; Client('127.0.0.1:1').close()",
        "from labelmill.client.cli.main import run; run(['--help'])",
        "from labelmill.client.cli.main import run; run(['train', '--help'])",
        "from labelmill.client.cli.main import run; run(['score', '--help'])",
        "from labelmill.client.cli.main import run; run(['jobs', '--help'])",
        "from labelmill.client.cli.main import run; run(['models', '--help'])",
        "from labelmill.client.cli.main import run; run(['bench', 'page', 'none.json'])",
    ],
)
def test_the_client_loads_nothing_heavy(code: str) -> None:
    assert run(f"{code}\n{LIST_HEAVY}") == "[]"


def imports(root: str) -> set[tuple[str, str]]:
    """Every ``labelmill...`` module imported anywhere below a source root, with the file."""
    found = set()
    for file in (ROOT / root / "labelmill").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file} imports relatively"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            where = str(file.relative_to(ROOT))
            found.update((where, name) for name in names if name.startswith("labelmill."))
    return found


@pytest.mark.parametrize(
    ("root", "others"),
    [
        ("core", ("client", "server", "worker")),
        ("client", ("server", "worker")),
        ("server", ("client", "worker")),
        ("worker", ("client", "server")),
    ],
)
def test_the_parts_do_not_import_each_other(root: str, others: tuple[str, ...]) -> None:
    found = imports(root)
    assert len(found) > 10
    forbidden = tuple(f"labelmill.{other}." for other in others)
    assert [pair for pair in sorted(found) if f"{pair[1]}.".startswith(forbidden)] == []
