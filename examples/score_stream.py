"""Score lines of stdin as they come. Usage: ... | python examples/score_stream.py MODEL.

Reading, uploading and receiving overlap, so a file of any size passes through in flat memory.
"""

from __future__ import annotations

import sys

from labelmill.client import Client
from labelmill.errors import LabelmillError


def main(model: str) -> int:
    """Prints label and score of each line, in order; returns the exit code."""
    lines = (text for line in sys.stdin if (text := line.strip()))
    try:
        with Client() as client:
            for row in client.score(lines, model=model):
                print(f"{row.error.reason}\t" if row.error else f"{row.label}\t{row.score:.3f}")
    except LabelmillError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
