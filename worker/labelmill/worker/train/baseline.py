"""The baseline that a transformer has to beat: TF-IDF and logistic regression."""

from __future__ import annotations

import time
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labelmill.worker.train.evaluate import Evaluation, evaluate
from labelmill.worker.train.examples import Examples
from labelmill.worker.train.split import Split

#: Most words and word pairs counted.
_MOST_FEATURES = 100_000

#: Single characters are words in some languages, and "!" says much in a short text.
_WORD = r"(?u)\w+|[^\w\s]"

#: Inverse strength of the L2 penalty.
_INVERSE_PENALTY = 5.0

#: Rounds of the solver; text is separable, so more would change little.
_MOST_ROUNDS = 300


class Baseline(NamedTuple):
    """How the baseline did."""

    test: Evaluation
    validation: Evaluation
    seconds: float


def train_baseline(examples: Examples, split: Split, seed: int) -> Baseline:
    """Fits on the training split and evaluates on validation and test."""
    # scikit-learn takes a second to load, which only training should pay.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    start = time.perf_counter()
    # On sparse counts liblinear is several times faster, but it knows two classes only.
    two_classes = examples.multi_label or len(examples.labels) == 2
    regression = LogisticRegression(
        C=_INVERSE_PENALTY,
        max_iter=_MOST_ROUNDS,
        random_state=seed,
        solver="liblinear" if two_classes else "lbfgs",
    )
    words = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        max_features=_MOST_FEATURES,
        token_pattern=_WORD,
    )
    model = make_pipeline(
        words, OneVsRestClassifier(regression) if examples.multi_label else regression
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(examples.texts_of(split.train), examples.targets(split.train))

    def score(rows: list[int]) -> Evaluation:
        probabilities: NDArray[np.float64] = model.predict_proba(examples.texts_of(rows))
        return evaluate(
            probabilities, examples.targets(rows), examples.labels, examples.multi_label
        )

    test, validation = score(split.test), score(split.validation)
    return Baseline(test, validation, time.perf_counter() - start)
