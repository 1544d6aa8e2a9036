"""Recipes for INT8, the fastest first: how much is spent on keeping close to fp32."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """What each kind of linear layer may use. Layers that read attention are smoothed for free."""

    name: str
    #: Whether layers that narrow (the second of a feed-forward block) smooth what they read; that
    #: is one more pass over the widest activations there are.
    smooth_narrowing: bool
    #: Numbers of outlier channels tried in layers that narrow, and in the others.
    narrowing_outliers: tuple[int, ...]
    other_outliers: tuple[int, ...] = (0,)
    #: Groups of layers that stay fp32, the ones of greatest error.
    fp32_groups: int = 0


#: In the order in which they are tried; the first that passes all gates is published.
RECIPES = (
    Recipe("outliers instead of smoothing", False, (0, 2, 4, 8, 16)),
    Recipe("smoothing and outliers", True, (0, 1, 2, 4, 8)),
    Recipe("outliers in every layer", True, (0, 1, 2, 4, 8), (0, 2, 4, 8)),
    # For models as large as BERT-base, where a layer is 1.6% of the bytes; with one of MiniLM's the
    # file is 28.6% of the fp32 file, which the gate of 27% refuses.
    Recipe("the worst layer in fp32", True, (0, 1, 2, 4, 8), (0, 2, 4, 8), fp32_groups=1),
)
