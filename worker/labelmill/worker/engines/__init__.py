"""Engines: one file each, one protocol."""

from labelmill.worker.engines.base import Engine, open_engine, pad

__all__ = ["Engine", "open_engine", "pad"]
