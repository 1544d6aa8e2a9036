"""Which texts of an import do what: some set the ranges of INT8, the others judge the export. Pure.

No text does both. Where the right labels are known, those that judge are halved: temperature and
thresholds are chosen on one half, figures are taken on the other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labelmill.errors import InvalidArgumentError
from labelmill.registry.dataset_file import split_labels
from labelmill.worker.foreign import builtin
from labelmill.worker.train.split import split

_SEED = 42

#: Texts that set the ranges: at most, and so few that built-in ones are added.
_MOST_RANGES, _LEAST_RANGES = 300, 100

#: Share of the given texts that sets the ranges; with labels, validation and test get as much.
_RANGES_SHARE = 1 / 3

#: Texts without labels to gate on: at most, and so few that built-in ones are added.
_MOST_GATES, _LEAST_GATES = 1000, 200

#: With fewer labelled texts, figures and thresholds would be chance.
_LEAST_LABELLED = 100

#: Labels quoted in one message, and characters of a text.
_QUOTED, _QUOTED_CHARS = 10, 40


@dataclass(frozen=True)
class Sample:
    """Which text does what."""

    #: The ranges of INT8 are measured on these.
    ranges: list[str]
    #: The export is judged on these.
    gates: list[str]
    #: Where they come from, in words.
    ranges_source: str
    gates_source: str
    #: Whether built-in texts are among the gates.
    built_in: bool
    #: Right labels of `gates`: int64 (texts,), for multi-label bool (texts, labels); None where
    #: they are not known.
    targets: NDArray[np.int64] | NDArray[np.bool_] | None
    #: Of `gates`, where labels are known: texts to choose temperature and thresholds on, and texts
    #: to take figures on.
    validation: slice
    test: slice
    warnings: list[str]


def choose(
    texts: Sequence[str], labels: Sequence[str], names: Sequence[str], *, multi_label: bool
) -> Sample:
    """Deals the given texts out, and adds built-in ones where they are too few.

    Args:
        texts: what the user gave; may be empty.
        labels: their labels, one entry each, or empty.
        names: the checkpoint's labels.
        multi_label: whether an entry of `labels` may hold several, or none.

    Raises:
        InvalidArgumentError: a label that the checkpoint does not have.
    """
    ids = _label_ids(texts, labels, names, multi_label=multi_label)
    rows = list({text: row for row, text in reversed(list(enumerate(texts)))}.values())[::-1]
    kept = [texts[row] for row in rows]
    warnings = []
    if len(kept) < len(texts):
        warnings.append(f"{len(texts) - len(kept)} repeated calibration texts were left out.")
    if ids and len(kept) >= _LEAST_LABELLED:
        sample = _labelled(kept, [ids[row] for row in rows], len(names), multi_label)
    else:
        sample = _unlabelled(kept)
    if ids and sample.targets is None:
        warnings.append(
            f"{len(kept)} labelled texts are too few to choose thresholds and take figures on; "
            f"their labels are not used. Give {_LEAST_LABELLED} or more."
        )
    if len(sample.gates) < _LEAST_GATES:
        warnings.append(
            f"There are only {len(sample.gates)} texts to gate on: one text that INT8 labels "
            f"otherwise is {1 / len(sample.gates):.1%} of them. Give more calibration texts."
        )
    return replace(sample, warnings=warnings)


def _label_ids(
    texts: Sequence[str], labels: Sequence[str], names: Sequence[str], *, multi_label: bool
) -> list[tuple[int, ...]]:
    """Positions in `names` of each entry's labels."""
    position = {name: number for number, name in enumerate(names)}
    found = []
    for row, entry in enumerate(labels):
        parts = split_labels(entry) if multi_label else (entry.strip(),)
        for part in parts:
            if part not in position:
                known = ", ".join(map(repr, names[:_QUOTED]))
                more = f" and {len(names) - _QUOTED} more" if len(names) > _QUOTED else ""
                raise InvalidArgumentError.at(
                    f"calibration_labels[{row}]",
                    f"is {part!r} (of {texts[row][:_QUOTED_CHARS]!r}), but the checkpoint's labels "
                    f"are {known}{more}; give those, or leave the labels out",
                )
        found.append(tuple(position[part] for part in parts))
    return found


def _unlabelled(texts: list[str]) -> Sample:
    shuffled = random.Random(_SEED).sample(texts, len(texts))  # noqa: S311
    count = min(_MOST_RANGES, math.ceil(_RANGES_SHARE * len(texts)))
    ranges, ranges_source = _filled_up(shuffled[:count])
    gates = shuffled[count : count + _MOST_GATES]
    gates_source = f"{len(gates)} given texts"
    built_in = len(gates) < _LEAST_GATES
    if built_in:
        _, more = builtin.texts()
        gates_source = _sum(len(gates), len(more))
        gates += more
    return Sample(
        ranges=ranges,
        gates=gates,
        ranges_source=ranges_source,
        gates_source=gates_source,
        built_in=built_in,
        targets=None,
        validation=slice(0, 0),
        test=slice(0, 0),
        warnings=[],
    )


def _labelled(
    texts: list[str], ids: list[tuple[int, ...]], labels: int, multi_label: bool
) -> Sample:
    # Texts without any label count as one more label, to be dealt out like the others.
    padded = [found or (labels,) for found in ids]
    parts = split(padded, labels + 1, _SEED, held_out_share=_RANGES_SHARE)
    chosen = _spread([texts[row] for row in parts.train], _MOST_RANGES)
    ranges, ranges_source = _filled_up(chosen)
    rows = [*parts.validation, *parts.test]
    if multi_label:
        targets: NDArray[np.int64] | NDArray[np.bool_] = np.zeros((len(rows), labels), dtype=bool)
        for at, row in enumerate(rows):
            targets[at, list(ids[row])] = True
    else:
        targets = np.array([ids[row][0] for row in rows], dtype=np.int64)
    return Sample(
        ranges=ranges,
        gates=[texts[row] for row in rows],
        ranges_source=ranges_source,
        gates_source=f"{len(rows)} given texts with their labels",
        built_in=False,
        targets=targets,
        validation=slice(0, len(parts.validation)),
        test=slice(len(parts.validation), len(rows)),
        warnings=[],
    )


def _filled_up(ranges: list[str]) -> tuple[list[str], str]:
    if len(ranges) >= _LEAST_RANGES:
        return ranges, f"{len(ranges)} given texts"
    more = _spread(builtin.texts()[0], _MOST_RANGES - len(ranges))
    return ranges + more, _sum(len(ranges), len(more))


def _sum(given: int, added: int) -> str:
    return f"{given} given + {added} built-in texts" if given else f"{added} built-in texts"


def _spread(texts: list[str], most: int) -> list[str]:
    """At most `most` of them, evenly spread."""
    count = min(most, len(texts))
    return [texts[at * len(texts) // count] for at in range(count)]
