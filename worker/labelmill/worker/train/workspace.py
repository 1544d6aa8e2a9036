"""The work folder of a job: where its checkpoints lie, and which run they belong to."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from labelmill.training import Hyperparameters

_PREFIX = "run-"


def run_folder(work_dir: Path, dataset_id: str, hyper: Hyperparameters) -> Path:
    """The folder of one run; a run with other data or settings never finds its checkpoints."""
    text = json.dumps([dataset_id, hyper.model_dump()], sort_keys=True)
    return work_dir / f"{_PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def import_folder(work_dir: Path) -> Path:
    """The folder for an import's files; an earlier attempt's are removed."""
    folder = work_dir / f"{_PREFIX}import"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def remove_checkpoints(work_dir: Path) -> None:
    """Removes what runs left in `work_dir`."""
    for folder in work_dir.glob(f"{_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
