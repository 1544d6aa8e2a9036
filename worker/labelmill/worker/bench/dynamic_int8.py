"""`python -m labelmill.worker.bench.dynamic_int8 JOB_FILE`: the INT8 that most guides make.

After `plain_export`. In a process of its own, so that the memory quantizing takes is not charged
to the contender.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

from labelmill.worker.bench.job import DYNAMIC_INT8_FILE, PLAIN_FILE, Job


def main() -> int:
    """Writes the file into the run's folder; returns the exit code."""
    job = Job.read(Path(sys.argv[1]))
    # It advises a preprocessing step that changes nothing for a graph exported by PyTorch.
    logging.disable(logging.WARNING)
    quantize_dynamic(
        job.folder / PLAIN_FILE,
        job.folder / DYNAMIC_INT8_FILE,
        weight_type=QuantType.QInt8,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
