"""Loaded model versions: tokenizer, engine and manifest together, the least used dropped first."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from labelmill.names import engine_family
from labelmill.registry import Manifest, Registry
from labelmill.registry.manifest import (
    GOLDEN_FILE,
    ONNX_FP32_FILE,
    ONNX_INT8_FILE,
    TOKENIZER_FILE,
    TORCH_DIR,
)
from labelmill.worker.engines import Engine
from labelmill.worker.engines.checked import open_checked
from labelmill.worker.engines.cost import CostModel, measure
from labelmill.worker.engines.cut import Limits
from labelmill.worker.tokenizer import Tokenizer

_log = logging.getLogger(__name__)


@dataclass
class LoadedModel:
    """One version on one engine, ready to score."""

    manifest: Manifest
    tokenizer: Tokenizer
    engine: Engine
    #: What a batch costs on this machine.
    cost: CostModel
    #: Why another engine serves than the one asked for; empty when the right one does.
    warning: str = ""

    @property
    def name(self) -> str:
        """E.g. ``reviews@3 onnx-int8``."""
        return f"{self.manifest.model}@{self.manifest.version} {self.engine.name}"

    @property
    def limits(self) -> Limits:
        """Of every batch."""
        return Limits(self.engine.max_batch_tokens)


class ModelCache:
    """Loads versions on demand and keeps the most recently used. Thread-safe.

    Args:
        registry: where versions lie.
        limit: versions kept; one more goes once nothing under way uses it.
        threads: threads that call an engine at once.
    """

    def __init__(self, registry: Registry, *, limit: int, threads: int) -> None:
        self._registry = registry
        self._limit = limit
        self._threads = threads
        self._loaded: OrderedDict[tuple[str, int, str], LoadedModel] = OrderedDict()
        self._lock = threading.Lock()
        # Loading takes seconds; whoever only asks for names must not wait for it.
        self._loading = threading.Lock()

    def get(self, model: str, version: int, engine: str) -> LoadedModel:
        """The version on `engine`, loaded and self-tested.

        Raises:
            LabelmillError: it does not exist, is corrupt, or cannot run here.
        """
        key = (model, version, engine)
        if found := self._find(key):
            return found
        with self._loading:
            if found := self._find(key):
                return found
            loaded = self._load(model, version, engine)
            with self._lock:
                self._loaded[key] = loaded
                while len(self._loaded) > self._limit:
                    _, oldest = self._loaded.popitem(last=False)
                    # Work under way keeps its own reference; the engine ends with the last one.
                    _log.info("unloaded %s", oldest.name)
            return loaded

    def _find(self, key: tuple[str, int, str]) -> LoadedModel | None:
        with self._lock:
            found = self._loaded.get(key)
            if found is not None:
                self._loaded.move_to_end(key)
            return found

    def _load(self, model: str, version: int, engine: str) -> LoadedModel:
        started = time.perf_counter()
        manifest = self._registry.manifest(model, version)
        self._registry.verify(model, version, only=_files(manifest, engine))
        folder = self._registry.path(model, version)
        opened, _ = open_checked(folder, manifest, engine, self._threads)
        warning = ""
        if opened.name != engine:
            self._registry.verify(model, version, only=_files(manifest, opened.name))
            warning = (
                f"{model}@{version}: {engine} failed its self-test on this CPU; {opened.name} "
                "serves instead"
            )
        tokenizer = Tokenizer(folder / TOKENIZER_FILE, manifest.max_length)
        cost = measure(opened, manifest.max_length, manifest.pad_token_id)
        loaded = LoadedModel(manifest, tokenizer, opened, cost, warning)
        seconds = time.perf_counter() - started
        _log.info("loaded %s in %.2f s: %s", loaded.name, seconds, cost)
        return loaded

    def names(self) -> list[str]:
        """Names of loaded versions."""
        with self._lock:
            return [loaded.name for loaded in self._loaded.values()]

    def warnings(self) -> list[str]:
        """Warnings of loaded versions."""
        with self._lock:
            return [loaded.warning for loaded in self._loaded.values() if loaded.warning]


def _files(manifest: Manifest, engine: str) -> list[str]:
    """Artifacts that serving on `engine` reads."""
    wanted = [TOKENIZER_FILE, GOLDEN_FILE]
    if engine_family(engine) == "torch":
        wanted += [name for name in manifest.artifacts if name.startswith(f"{TORCH_DIR}/")]
    else:
        wanted.append(ONNX_FP32_FILE if engine == "onnx-fp32" else ONNX_INT8_FILE)
    # What the version never had is for opening the engine to refuse.
    return [name for name in wanted if name in manifest.artifacts]
