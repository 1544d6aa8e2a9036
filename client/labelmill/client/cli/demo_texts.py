"""What the demo classifies and scores besides the example reviews."""

from __future__ import annotations

import csv
import random
from pathlib import Path

#: Reviews that the model has never seen: negative, positive, neutral, and one that takes turns.
REVIEWS = (
    "Cold soup, a rude waiter, an hour for the bill. Never again.",
    "Best birthday present I have ever been given!",
    "The museum opens at ten and closes at five, except on Mondays.",
    "I was sure I would hate it, and I have never been so glad to be wrong.",
)

#: What nobody who reviews anything would write; the model is asked which puzzles it most.
OUT_OF_PLACE = (
    "Colourless green ideas sleep furiously.",
    "Knight to f6, and mate in three.",
    "def main(): return None",
    "Twinkle, twinkle, little star, how I wonder what you are.",
    "La lluvia en Sevilla es una maravilla.",
    "Lorem ipsum dolor sit amet.",
    "To be, or not to be, that is the question.",
    "Sic transit gloria mundi.",
    "Goal! Goal! Goal! Two minutes from time!",
    "Shall I compare thee to a summer's day?",
    "Mitochondria are the powerhouse of the cell.",
    "Ich habe heute leider kein Foto für dich.",
    "Open sesame!",
    "Never gonna give you up.",
    "E equals m c squared.",
    "qwertz uiop asdf",
    "Objection, your honour!",
    "Elementary, my dear Watson.",
    "May the wind be always at your back.",
    "It was a dark and stormy night.",
    "Ceci n'est pas une pipe.",
    "Abracadabra, simsalabim.",
    "We hold these truths to be self-evident.",
    "Is this a dagger which I see before me?",
)

#: So that the file is the same in every demo.
_SEED = 7


def read_texts(path: Path) -> list[str]:
    """The texts of a CSV file with a column text."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [row["text"] for row in csv.DictReader(stream)]


def write_pairs(reviews: list[str], count: int, target: Path) -> list[str]:
    """Writes `count` distinct pairs of reviews as CSV with id and text; returns the ids."""
    chance = random.Random(_SEED)  # noqa: S311 - not for secrets
    pairs: dict[tuple[str, str], None] = {}
    while len(pairs) < count:
        first, second = chance.sample(reviews, 2)
        pairs[first, second] = None
    ids = [f"pair-{number:05d}" for number in range(count)]
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "text"])
        writer.writerows([name, " ".join(pair)] for name, pair in zip(ids, pairs, strict=True))
    return ids


def read_results(path: Path) -> list[dict[str, str]]:
    """Rows of what `labelmill score` wrote as CSV."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
