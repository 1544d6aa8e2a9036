"""Regenerates the committed stubs below core/labelmill from protos/labelmill.

Run by `make protos`. `--check` writes into a temporary folder and exits 1 when the committed
stubs differ, which is what CI does.
"""

from __future__ import annotations

import argparse
import filecmp
import sys
import sysconfig
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
STUBS = PROTOS.parent / "core"
PACKAGES = (Path("labelmill/v1"), Path("labelmill/internal/v1"))


def generate(out: Path) -> None:
    """Writes the stubs of every proto below `out`; raises SystemExit when protoc fails."""
    scripts = Path(sysconfig.get_path("scripts"))
    well_known = Path(protoc.__file__).parent / "_proto"
    sources = [
        str(path.relative_to(PROTOS))
        for package in PACKAGES
        for path in sorted((PROTOS / package).glob("*.proto"))
    ]
    out.mkdir(parents=True, exist_ok=True)
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTOS}",
            f"--proto_path={well_known}",
            f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet:{out}",
            *sources,
        ]
    )
    if code:
        raise SystemExit(f"protoc failed with exit code {code}")


def drift() -> list[str]:
    """Names of committed stubs that differ from freshly generated ones."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        names = {str(path.relative_to(fresh)) for path in fresh.rglob("*_pb2*")}
        names |= {str(path.relative_to(STUBS)) for path in _committed()}
        _, differing, missing = filecmp.cmpfiles(fresh, STUBS, sorted(names), shallow=False)
        return sorted(differing + missing)


def _committed() -> list[Path]:
    return [path for package in PACKAGES for path in (STUBS / package).glob("*_pb2*")]


def main() -> None:
    """Generates, or with --check compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the stubs are out of date")
    if parser.parse_args().check:
        stale = drift()
        if stale:
            sys.exit(f"stubs are out of date, run `make protos`: {', '.join(stale)}")
        return
    for old in _committed():
        old.unlink()
    generate(STUBS)


if __name__ == "__main__":
    main()
