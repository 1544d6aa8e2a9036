"""Which number format trains faster here. Measured, as CPU flags do not tell.

Cores that have AVX512_BF16 but no AMX multiply bf16 at half the speed of fp32, those with AMX at
three times; see docs/decisions.
"""

from __future__ import annotations

import time

import torch

from labelmill.worker import cpu

#: Rows, inputs and outputs of the product timed: a feed-forward layer of a small encoder.
_SHAPE = (512, 384, 1536)

#: Times each product is run; the fastest counts.
_REPEATS = 7

#: How much faster bf16 must be to be worth its rounding.
_WORTHWHILE = 1.2


def trains_faster_in_bf16() -> bool:
    """Whether to train under bf16 autocast, on the GPU or on this CPU. Takes some milliseconds."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    if not cpu.has_bf16():
        return False
    return _seconds(torch.float32) > _WORTHWHILE * _seconds(torch.bfloat16)


def _seconds(dtype: torch.dtype) -> float:
    rows, inputs, outputs = _SHAPE
    x, weights = torch.ones(rows, inputs, dtype=dtype), torch.ones(outputs, inputs, dtype=dtype)
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        torch.nn.functional.linear(x, weights)
        best = min(best, time.perf_counter() - start)
    return best
