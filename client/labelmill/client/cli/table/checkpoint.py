"""How far a run of `labelmill score` has come: OUTPUT.labelmill.json beside the output.

It is replaced as a whole after the rows it speaks of were written, so after a break it never says
more than the partial output holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Checkpoint:
    """A job and how much of its results is written."""

    job: str
    #: What was asked for; a run with another request starts over.
    request: dict[str, Any]
    #: Rows of the input.
    total: int
    #: Rows and bytes of the partial output, and the token that continues after them.
    rows: int = 0
    bytes: int = 0
    resume_token: str = ""

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """The checkpoint at `path`; None when there is none that can be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def save(self, path: Path) -> None:
        """Replaces the file at `path`."""
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)

    def is_for(self, request: Mapping[str, Any]) -> bool:
        """Whether the run that wrote this asked for the same."""
        return bool(self.request == json.loads(json.dumps(request)))
