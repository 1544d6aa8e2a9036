"""From what a caller names to what is served: one immutable version, one concrete engine.

Aliases lie in Redis and versions in the registry; both are remembered for a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from labelmill.errors import EngineUnavailableError, ModelNotFoundError, NoWorkerError
from labelmill.names import (
    DEFAULT_ALIAS,
    DEFAULT_ENGINE,
    ModelRef,
    engine_choices,
    engine_family,
    parse_model_ref,
)
from labelmill.queue.aliases import AliasStore
from labelmill.queue.presence import WorkerInfo
from labelmill.registry import Manifest, Registry
from labelmill.registry.manifest import TORCH_DIR
from labelmill.server.cached import Cached
from labelmill.server.monitor import Monitor

#: How old an answer may be, in s.
_TTL_S = 1.0

#: Seconds until a call that met no worker should be tried again.
_NO_WORKER_RETRY_S = 1.0


class Resolver:
    """Finds versions and engines."""

    def __init__(self, aliases: AliasStore, registry: Registry, monitor: Monitor) -> None:
        self._aliases = aliases
        self._registry = registry
        self._monitor = monitor
        self._manifests = Cached(self.look_up, ttl_s=_TTL_S)

    async def version(self, text: str, field: str = "model") -> Manifest:
        """The version that ``name[@alias|@version]`` means, at most a second ago.

        Raises:
            InvalidArgumentError: `text` is no such name; names `field`.
            ModelNotFoundError: unknown model, alias or version; names those that exist.
            ArtifactCorruptError: the version's files are not all there.
        """
        return await self._manifests.get(parse_model_ref(text, field))

    async def look_up(self, ref: ModelRef) -> Manifest:
        """The version `ref` means now; raises as `version` does."""
        number = ref.version
        if number is None:
            number = await self._pointed_at(ref.name, ref.alias or DEFAULT_ALIAS)
        return await asyncio.to_thread(self._registry.manifest, ref.name, number)

    def forget(self, model: str) -> None:
        """Looks anew next time, after an alias of `model` was moved."""
        self._manifests.forget(lambda ref: ref.name == model)

    async def _pointed_at(self, name: str, alias: str) -> int:
        table = await self._aliases.read(name)
        if alias in table.versions:
            return table.versions[alias]
        numbers = await asyncio.to_thread(self._registry.versions, name)
        if alias == DEFAULT_ALIAS:
            # Redis may have been emptied; the registry still knows what was trained last.
            return numbers[-1]
        known = ", ".join(sorted(table.versions)) or "none yet"
        raise ModelNotFoundError(
            f"model {name!r} has no alias {alias!r}; its aliases are {known}, its versions "
            + ", ".join(map(str, numbers[-10:])),
            metadata={"model": name, "alias": alias},
        )

    async def serving(self, manifest: Manifest, engine: str, field: str = "engine") -> str:
        """The concrete engine for a call to be answered now.

        Raises:
            InvalidArgumentError: there is no such engine; names `field`.
            EngineUnavailableError: the version, or every living worker, lacks it.
            NoWorkerError: no living worker serves its family.
        """
        able = _able(manifest, engine, field)
        best = _best(able, self._monitor.view.workers)
        if best is not None:
            return best
        view = await self._monitor.fresh()
        self._monitor.check()
        best = _best(able, view.workers)
        if best is not None:
            return best
        family = engine_family(able[0])
        if any(family in worker.pools for worker in view.workers):
            offered = {name for worker in view.workers for name in worker.engines}
            raise EngineUnavailableError(
                f"{field}: no living worker's machine can run {' or '.join(able)}; they run "
                + ", ".join(sorted(offered)),
                metadata={"engine": engine or DEFAULT_ENGINE},
            )
        raise NoWorkerError(
            f"no living worker serves {family}; start one with `labelmill worker` and "
            f"LABELMILL_ENGINES='[\"{family}\"]'",
            retry_after_s=_NO_WORKER_RETRY_S,
            metadata={"engine": engine or DEFAULT_ENGINE},
        )

    def pinned(self, manifest: Manifest, engine: str, field: str = "engine") -> str:
        """The concrete engine for a job, which may wait until a worker is there.

        Raises:
            InvalidArgumentError: there is no such engine; names `field`.
            EngineUnavailableError: the version lacks it.
        """
        able = _able(manifest, engine, field)
        best = _best(able, self._monitor.view.workers)
        if best is not None:
            return best
        # Any torch worker can run fp32; only some machines can run bf16.
        return able[-1] if engine_family(able[0]) == "torch" else able[0]


def _able(manifest: Manifest, engine: str, field: str) -> list[str]:
    """Concrete engines among those asked for that the version's files serve, best first."""
    able = [choice for choice in engine_choices(engine, field) if _serves(manifest, choice)]
    if not able:
        name = f"{manifest.model}@{manifest.version}"
        raise EngineUnavailableError(
            f"{field}: {name} cannot run on {engine or DEFAULT_ENGINE}; it has "
            + ", ".join(engines_of(manifest)),
            metadata={"engine": engine or DEFAULT_ENGINE, "model": name},
        )
    return able


def engines_of(manifest: Manifest) -> list[str]:
    """Concrete engines that can serve the version, its default first."""
    others = ("onnx-int8", "onnx-fp32", "torch-fp32", "torch-bf16", "openvino-int8")
    names = dict.fromkeys((*manifest.engines, *others))
    return [name for name in names if _serves(manifest, name)]


def _serves(manifest: Manifest, engine: str) -> bool:
    if engine in manifest.engines:
        return True
    match engine_family(engine):
        case "torch":
            return any(name.startswith(f"{TORCH_DIR}/") for name in manifest.artifacts)
        case "openvino":
            return "onnx-int8" in manifest.engines
    return False


def _best(able: Sequence[str], workers: Sequence[WorkerInfo]) -> str | None:
    """The first of `able` that a living worker serves."""
    for engine in able:
        family = engine_family(engine)
        if any(family in worker.pools and engine in worker.engines for worker in workers):
            return engine
    return None
