from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

LIBRARIES = Path(pytest.__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
        timeout=55,
    )
    (file,) = out.glob("*.whl")
    return file


def install(wheel: Path, folder: Path) -> Path:
    """A new environment with the wheel alone; its site-packages."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and every library."""
    folder = tmp_path_factory.mktemp("full")
    # The libraries of the environment that runs the tests, but not its link to this checkout.
    (install(wheel, folder) / "libraries.pth").write_text(f"{LIBRARIES}\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with what `pip install labelmill` brings, no more."""
    folder = tmp_path_factory.mktemp("light")
    site = install(wheel, folder)
    for distribution in dependencies("labelmill"):
        for file in distribution.files or ():
            top = file.parts[0]
            if top != ".." and not (site / top).exists():
                (site / top).symlink_to(LIBRARIES / top)
    return folder / "bin" / "python"


def dependencies(name: str) -> list[metadata.Distribution]:
    """Distributions that `name` needs without any extra, and that those need."""
    found: dict[str, metadata.Distribution] = {}
    names = [name]
    while names:
        for line in metadata.requires(names.pop()) or ():
            requirement = Requirement(line)
            marker = requirement.marker
            wanted = marker is None or marker.evaluate({"extra": ""})
            if wanted and requirement.name not in found:
                found[requirement.name] = metadata.distribution(requirement.name)
                names.append(requirement.name)
    return list(found.values())


def run(python: Path, code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=50, check=False
    )


def test_everything_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("labelmill/")}
    roots = [ROOT / part for part in ("core", "client", "server", "worker")]
    sources = {
        str(path.relative_to(root))
        for root in roots
        for path in (root / "labelmill").rglob("*")
        if path.suffix in (".py", ".pyi", ".lua", ".css", ".txt", ".typed")
    }
    assert sources - packed == set()
    assert packed - sources == {"labelmill/client/data/reviews.csv"}
    assert "labelmill/__init__.py" not in packed
    assert {Path(name).name for name in packed} >= {"py.typed", "commit.lua", "scoring_pb2.pyi"}


def test_its_extras_are_those_promised(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("METADATA"))
        described = HeaderParser().parsestr(archive.read(name).decode())
    promised = {"server", "worker", "gpu", "train", "openvino", "embedded", "all", "dev"}
    assert set(described.get_all("Provides-Extra", [])) == promised


def test_it_works_outside_of_the_checkout(full: Path, tmp_path: Path) -> None:
    done = run(
        full,
        "import labelmill.client, labelmill.server.app, labelmill.worker.app\n"
        "from labelmill.client.cli.main import run\n"
        "from labelmill.client.examples import example_reviews\n"
        "print(labelmill.client.__file__, example_reviews())\n"
        "run(['--version'])",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert str(ROOT / "client") not in done.stdout
    assert "reviews.csv" in done.stdout
    assert "labelmill 0." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--version"], 0, "labelmill 0."),
        (["--help"], 0, "train"),
        (["classify", "--help"], 0, "--model"),
        (["classify", "x", "--model", "m", "--address", "127.0.0.1:1"], 1, "127.0.0.1:1"),
        (["up"], 1, "pip install 'labelmill["),
        (["demo"], 1, "pip install 'labelmill["),
        (["bench", "offline", "--model", "m"], 1, "pip install 'labelmill["),
        (["bench", "page", "run.json"], 2, "no file run.json"),
        (["server"], 1, "pip install 'labelmill["),
        (["doctor"], 0, "labelmill[worker]"),
    ],
)
def test_the_light_installation_needs_no_extra(
    light: Path, tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    done = run(
        light,
        f"import sys\nfrom labelmill.client.cli.main import run\nsys.exit(run({arguments!r}))",
        tmp_path,
    )
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code
