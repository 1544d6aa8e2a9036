"""`python -m labelmill.worker.bench.ceiling THREADS`: how fast this machine multiplies U8 by S8.

The best rate over a few shapes of linear layers, of ONNX Runtime's own kernel, in the two ways to
use several threads: that many calls at once, or one call on all of them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime

#: Rows, inputs and outputs of the products tried.
_SHAPES = ((256, 768, 3072), (512, 768, 768), (512, 1024, 1024), (1024, 1024, 4096))

#: Seconds of each measurement.
_SECONDS = 0.1


def _model(inputs: int, outputs: int) -> bytes:
    weights = np.random.default_rng(0).integers(-127, 128, (inputs, outputs), dtype=np.int8)
    node = onnx.helper.make_node("MatMulInteger", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph(
        [node],
        "gemm",
        [onnx.helper.make_tensor_value_info("a", onnx.TensorProto.UINT8, [None, inputs])],
        [onnx.helper.make_tensor_value_info("c", onnx.TensorProto.INT32, [None, outputs])],
        [onnx.numpy_helper.from_array(weights, "b")],
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    made: bytes = onnx.helper.make_model(
        graph, opset_imports=opset, ir_version=10
    ).SerializeToString()
    return made


def _rate(shape: tuple[int, int, int], inside: int, callers: int) -> float:
    """Multiply-accumulates a second."""
    rows, inputs, outputs = shape
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = inside
    session = onnxruntime.InferenceSession(
        _model(inputs, outputs), options, providers=["CPUExecutionProvider"]
    )
    batch = np.random.default_rng(1).integers(0, 256, (rows, inputs), dtype=np.uint8)

    def repeat(until: float) -> int:
        runs = 0
        while time.perf_counter() < until:
            session.run(None, {"a": batch})
            runs += 1
        return runs

    session.run(None, {"a": batch})
    with ThreadPoolExecutor(callers) as pool:
        started = time.perf_counter()
        until = started + _SECONDS
        runs = sum(pool.map(repeat, [until] * callers))
        seconds = time.perf_counter() - started
    return runs * rows * inputs * outputs / seconds


def measure(threads: int) -> float:
    """The ceiling of `threads` threads, in multiply-accumulates a second."""
    ways = {(1, threads), (threads, 1)}
    return max(_rate(shape, *way) for shape in _SHAPES for way in ways)


def main() -> int:
    """Prints ``{"macs_per_second": ...}``; returns the exit code."""
    threads = int(sys.argv[1])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    sys.stdout.write(json.dumps({"macs_per_second": measure(threads)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
