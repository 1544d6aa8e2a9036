"""The measured side of `labelmill bench offline`: one process a contender, driven over pipes.

Owns how each contender turns texts into labels, what one is timed on and the machine's GEMM
ceiling. Which contenders run, in which order and what the figures mean together belongs to
labelmill.client.bench.
"""
