"""What a run says, in sentences; also where it speaks against labelmill, or says little."""

from __future__ import annotations

from collections.abc import Iterator

from labelmill.client.bench.page.run import Row, Run
from labelmill.pages import quantity
from labelmill.pages.markup import Markup, join
from labelmill.pages.prose import code, listed, plural

#: What most guides do; named beside the fastest of the usual ways.
_GUIDES = "ort-dynamic-int8"

#: Rounds further apart than this share of their median make ratios doubtful.
_STEADY_SPREAD = 0.2

#: Below so many texts the page says what one text weighs.
_MANY_TEXTS = 1_000


def title(run: Run) -> Markup:
    """The result in one line."""
    fast, base = run.contenders[0], run.base
    if len(run.contenders) == 1:
        rate = quantity.number(fast.texts_per_second)
        return join(code(fast.name), f" classifies {rate} texts a second")
    if fast is base:
        return join(code(fast.name), f" is the fastest of {len(run.contenders)}")
    compared = join(code(fast.name), f" is {_ratio(run, fast)} times as fast as ", code(base.name))
    if fast.label_agreement is None or fast.name == run.reference:
        return compared
    same = "the same label" if base.name == run.reference else f"the label of {run.reference}"
    part = fast.texts_compared is not None and fast.texts_compared < run.texts
    share = quantity.percent(fast.label_agreement)
    which = "every text" if fast.differing == 0 else f"{share} of the texts"
    return join(compared, f", with {same} for {which}", " compared" if part else None)


def lead(run: Run) -> Markup:
    """The result in a few sentences."""
    fast = run.contenders[0]
    said = [_speed(run, fast), _others(run, fast), _labels(run, fast)]
    return join(*(join(sentence, " ") for sentence in said if sentence))


def caveats(run: Run) -> Iterator[Markup]:
    """Why to be careful with this run."""
    fast, *others = run.contenders
    close = [row for row in others if (row.fastest or 0.0) >= (fast.slowest or float("inf"))]
    if close:
        names = listed([code(row.name) for row in (fast, *close)])
        yield join("Rounds of ", names, " overlap: this run does not say which of them is fastest.")
    restless = [
        join(code(row.name), f" by {quantity.percent(row.spread, 0)}")
        for row in run.contenders
        if row.spread > _STEADY_SPREAD
    ]
    if restless:
        yield join(
            "Rounds differ widely (",
            listed(restless),
            "): ratios with them may be off by as much. Other work on the machine does that, and "
            "so does a slow first round.",
        )
    if run.texts < _MANY_TEXTS:
        weight = quantity.percent(1 / max(run.texts, 1), 2)
        texts = plural(run.texts, "text")
        yield join(f"Of {texts}, a single one is {weight} of accuracy and agreement.")
    for row in run.contenders:
        if row.texts is not None and row.texts < run.texts:
            yield join(
                code(row.name),
                f" was too slow for all texts and scored {quantity.count(row.texts)} of them, of "
                "every length its share.",
            )


def _ratio(run: Run, fast: Row) -> str:
    """How many times as fast as the base; from worst to best where rounds differ widely."""
    ends = (fast.slowest, fast.fastest, run.base.slowest, run.base.fastest)
    slowest, fastest, base_slowest, base_fastest = ends
    if max(fast.spread, run.base.spread) <= _STEADY_SPREAD or not (
        slowest and fastest and base_slowest and base_fastest
    ):
        return quantity.times(run.ratio(fast)).removesuffix("×")
    ratios = (slowest / base_fastest, fastest / base_slowest)
    return " to ".join(f"{ratio:,.{0 if ratio >= 10 else 1}f}" for ratio in ratios)


def _speed(run: Run, fast: Row) -> Markup:
    threads = f" on {plural(run.threads, 'thread')}" if run.threads else ""
    rate = quantity.number(fast.texts_per_second)
    said = join(code(fast.name), f" classifies {rate} texts a second{threads}")
    if fast is run.base:
        return join(said, ".")
    return join(said, ", ", code(run.base.name), f" {quantity.number(run.base.texts_per_second)}.")


def _others(run: Run, fast: Row) -> Markup | None:
    """How the fastest stands to the best of the other side, and to what guides do."""
    if not fast.ours:
        own = next((row for row in run.contenders if row.ours), None)
        if own is None:
            return None
        return join("That is ", _multiple(fast, own), ", the fastest of labelmill's own.")
    theirs = [row for row in run.contenders if not row.ours and row is not run.base]
    if not theirs:
        return None
    best = join("That is ", _multiple(fast, theirs[0]), ", the fastest of the usual ways")
    guides = next((row for row in theirs[1:] if row.name == _GUIDES), None)
    return join(best, ", and ", _multiple(fast, guides), ".") if guides else join(best, ".")


def _multiple(fast: Row, slow: Row) -> Markup:
    ratio = quantity.times(fast.texts_per_second / slow.texts_per_second)
    return join(ratio, " ", code(slow.name))


def _labels(run: Run, fast: Row) -> Markup | None:
    said = []
    if fast.differing is not None and run.reference and run.reference != fast.name:
        compared = fast.compared or 0
        same = quantity.count(compared - fast.differing)
        many = f"{same} of {quantity.count(compared)}" if fast.differing else f"all {same}"
        said.append(join("gives the label of ", code(run.reference), f" to {many} texts"))
    if fast.accuracy is not None:
        base = run.base
        told = base.accuracy is not None and fast is not base
        beside = join(" (", code(base.name), f": {quantity.percent(base.accuracy)})")
        right = f"is right on {quantity.percent(fast.accuracy)} of the texts"
        said.append(join(right, beside if told else None))
    if fast.batch_flips is not None:
        flips = quantity.count(fast.batch_flips) if fast.batch_flips else "no"
        noun = "label that changes" if fast.batch_flips == 1 else "labels that change"
        said.append(join(f"has {flips} {noun} with the batch"))
    return join("It ", listed(said), ".") if said else None
