"""The names of a foreign checkpoint's labels, in the order of its logits.

That order is the number in config.json's id2label and nothing else: not the order of the file,
which sorts "10" before "2", nor the alphabet.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from labelmill.errors import InvalidArgumentError
from labelmill.names import UNKNOWN
from labelmill.registry.dataset_file import LABEL_SEPARATOR
from labelmill.worker.foreign.request import SOURCE

#: Labels of a configuration that names none.
_USUAL_LABELS = 2


class Labels(NamedTuple):
    """Names, and what is odd about them."""

    names: list[str]
    warnings: list[str]


def read_labels(config: dict[str, Any], *, multi_label: bool) -> Labels:
    """Reads the labels of a config.json.

    Raises:
        InvalidArgumentError: they contradict each other, or cannot be told apart in answers; names
            ``source_directory``.
    """
    given = config.get("id2label")
    count = config.get("num_labels")
    if given is None:
        names = _unnamed(_USUAL_LABELS if count is None else count)
    else:
        names = _ordered(given)
        if count is not None and count != len(names):
            raise _error(f"id2label names {len(names)} labels, num_labels says {count}", "id2label")
    if len(names) < 2:
        raise _error(
            "it has one output, so it predicts a number or one probability; labelmill serves "
            "classifiers with two labels or more"
        )
    _check(names, multi_label)
    return Labels(names, _warnings(names, config.get("label2id")))


def _unnamed(count: Any) -> list[str]:
    if not isinstance(count, int) or isinstance(count, bool):
        raise _error(f"num_labels is {count!r}, which is no number", "num_labels")
    return [f"LABEL_{number}" for number in range(count)]


def _ordered(given: Any) -> list[str]:
    try:
        by_number = {int(number): str(name) for number, name in given.items()}
    except (AttributeError, ValueError, TypeError) as error:
        raise _error("id2label does not map numbers to names", "id2label") from error
    if sorted(by_number) != list(range(len(given))):
        found = ", ".join(map(str, list(given)[:5]))
        raise _error(
            f"id2label has the keys {found} ... instead of 0 to {len(given) - 1}", "id2label"
        )
    return [by_number[number] for number in range(len(by_number))]


def _check(names: list[str], multi_label: bool) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise _error(f"id2label has {repeated[0]!r} more than once", "id2label")
    for number, name in enumerate(names):
        if not name.strip() or not name.isprintable():
            raise _error(f"label {number} is {name!r}, which nobody can read", "id2label")
        if name == UNKNOWN:
            raise _error(
                f"label {number} is {UNKNOWN}, which is what texts below the threshold get",
                "id2label",
            )
        if multi_label and LABEL_SEPARATOR in name:
            raise _error(
                f"label {number} is {name!r}; in answers with several labels {LABEL_SEPARATOR!r} "
                "stands between them",
                "id2label",
            )


def _warnings(names: list[str], label2id: Any) -> list[str]:
    warnings = []
    if names == _unnamed(len(names)):
        warnings.append(
            f"The labels have no names but {names[0]} to {names[-1]}; name them in config.json "
            "(id2label) and import again if answers are to carry names."
        )
    try:
        other = {str(name): int(number) for name, number in (label2id or {}).items()}
    except (AttributeError, ValueError, TypeError):
        other = {}
    if any(other.get(name, number) != number for number, name in enumerate(names)):
        warnings.append(
            "config.json contradicts itself: label2id gives the labels other numbers than "
            "id2label; id2label counts, as in a Hugging Face pipeline."
        )
    return warnings


def _error(description: str, key: str = "") -> InvalidArgumentError:
    remedy = f"; mend {key} in its config.json" if key else ""
    return InvalidArgumentError.at(SOURCE, description + remedy)
