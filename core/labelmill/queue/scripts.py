"""Loads the Lua scripts of this package. Owns their texts, not their keys or arguments."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def source(name: str) -> str:
    """Text of script `name`, with the common functions before it."""
    folder = files("labelmill.queue").joinpath("lua")
    common = folder.joinpath("_common.lua").read_text(encoding="utf-8")
    return common + "\n" + folder.joinpath(f"{name}.lua").read_text(encoding="utf-8")
