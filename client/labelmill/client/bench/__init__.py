"""Benchmarks: which contenders run, in which order, and what their figures mean together.

How a contender scores belongs to labelmill.worker.bench, which runs in processes of its own.
"""
