"""Classify a few texts: python examples/classify.py MODEL TEXT..."""

from __future__ import annotations

import sys

from labelmill.client import Client
from labelmill.errors import LabelmillError, ModelNotFoundError, OverloadedError


def main(model: str, texts: list[str]) -> int:
    """Prints label, score and text of each; returns the exit code."""
    try:
        # In a service, make one client when it starts and keep it: it is safe for all threads.
        with Client() as client:
            answer = client.classify(texts, model=model)
    except ModelNotFoundError as error:
        return fail(f"{error.message} Train it first: labelmill train examples/reviews.csv ...")
    except OverloadedError as error:
        return fail(f"{error.message} Come back in {error.retry_after_s} s.")
    except LabelmillError as error:
        return fail(error.message)
    for text, result in zip(texts, answer.results, strict=True):
        print(f"{result.label}\t{result.score:.3f}\t{text}")
    return 0


def fail(message: str) -> int:
    """Prints `message`; returns the exit code."""
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
