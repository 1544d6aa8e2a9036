"""ModelService: models, their versions, and the aliases that move between them."""

# ruff: noqa: ARG002, N802 - names and arguments are those of the generated base class

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import Any

from labelmill.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    UnimplementedError,
)
from labelmill.names import DEFAULT_ALIAS, check_alias, check_model_name, parse_model_ref
from labelmill.queue.aliases import AliasStore
from labelmill.registry import Manifest, Registry
from labelmill.registry.manifest import REPORT_FILE
from labelmill.server import pages, validate
from labelmill.server.importing import Importer
from labelmill.server.messages import model, model_version, training_job
from labelmill.server.resolve import Resolver
from labelmill.server.stores import Stores
from labelmill.v1 import models_pb2 as pb
from labelmill.v1.models_pb2_grpc import ModelServiceServicer


class ModelService(ModelServiceServicer):
    """Reads the registry, moves aliases and has checkpoints imported."""

    def __init__(
        self, stores: Stores, registry: Registry, resolver: Resolver, importer: Importer
    ) -> None:
        self._stores = stores
        self._aliases: AliasStore = stores.aliases
        self._registry = registry
        self._resolver = resolver
        self._importer = importer

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Any
    ) -> pb.ListModelsResponse:
        """See models.proto."""
        size = pages.page_size(request.page_size, default=100, most=1000)
        names = await asyncio.to_thread(self._registry.models)
        if request.page_token:
            (last,) = pages.values_of("models", request.page_token, str)
            names = names[bisect_right(names, str(last)) :]
        page = names[:size]
        return pb.ListModelsResponse(
            models=[await self._model(name) for name in page],
            next_page_token=pages.token("models", page[-1]) if len(names) > size else "",
        )

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:
        """See models.proto."""
        check_model_name(request.name, "name")
        return pb.GetModelResponse(model=await self._model(request.name))

    async def ListModelVersions(
        self, request: pb.ListModelVersionsRequest, context: Any
    ) -> pb.ListModelVersionsResponse:
        """See models.proto."""
        size = pages.page_size(request.page_size, default=100, most=1000)
        check_model_name(request.model)
        numbers = (await asyncio.to_thread(self._registry.versions, request.model))[::-1]
        if request.page_token:
            name, last = pages.values_of("versions", request.page_token, str, int)
            if name != request.model:
                raise InvalidArgumentError.at(
                    "page_token", "belongs to another model; start without one"
                )
            numbers = [number for number in numbers if number < int(last)]
        table = await self._aliases.read(request.model)
        response = pb.ListModelVersionsResponse()
        for number in numbers[:size]:
            manifest = await asyncio.to_thread(self._registry.manifest, request.model, number)
            response.versions.append(model_version(manifest, table, self._location(manifest)))
        if len(numbers) > size:
            response.next_page_token = pages.token("versions", request.model, numbers[size - 1])
        return response

    async def GetModelVersion(
        self, request: pb.GetModelVersionRequest, context: Any
    ) -> pb.GetModelVersionResponse:
        """See models.proto."""
        manifest = await self._resolver.look_up(parse_model_ref(request.model))
        if request.verify:
            await asyncio.to_thread(self._registry.verify, manifest.model, manifest.version)
        table = await self._aliases.read(manifest.model)
        return pb.GetModelVersionResponse(
            version=model_version(manifest, table, self._location(manifest)),
            report_json=await asyncio.to_thread(self._report, manifest),
        )

    async def SetModelAlias(
        self, request: pb.SetModelAliasRequest, context: Any
    ) -> pb.SetModelAliasResponse:
        """See models.proto."""
        check_model_name(request.model)
        check_alias(request.alias)
        if request.version < 1:
            raise InvalidArgumentError.at("version", f"is {request.version}; use 1 or more")
        moved = await self._point(request.model, request.alias, request.version, request.etag)
        return pb.SetModelAliasResponse(model=moved)

    async def RollbackModel(
        self, request: pb.RollbackModelRequest, context: Any
    ) -> pb.RollbackModelResponse:
        """See models.proto."""
        check_model_name(request.model)
        alias = check_alias(request.alias or DEFAULT_ALIAS)
        await asyncio.to_thread(self._registry.versions, request.model)
        table = await self._aliases.read(request.model)
        if alias not in table.previous:
            raise FailedPreconditionError(
                f"alias: {alias!r} of model {request.model!r} has never pointed at another "
                "version; set it with SetModelAlias"
            )
        moved = await self._point(request.model, alias, table.previous[alias], table.etag)
        return pb.RollbackModelResponse(model=moved)

    async def DeleteModelVersion(
        self, request: pb.DeleteModelVersionRequest, context: Any
    ) -> pb.DeleteModelVersionResponse:
        """See models.proto."""
        raise UnimplementedError(
            "deleting versions comes with a later release; a version that no alias and no job "
            "names may be removed from the registry's folder by hand"
        )

    async def ImportModel(
        self, request: pb.ImportModelRequest, context: Any
    ) -> pb.ImportModelResponse:
        """See models.proto."""
        record = await self._importer.create(request, validate.tenant(context))
        if request.detach:
            return pb.ImportModelResponse(job=training_job(record))
        record = await self._importer.finish(record.id)
        manifest = await asyncio.to_thread(self._registry.manifest, record.model, record.version)
        table = await self._aliases.read(record.model)
        return pb.ImportModelResponse(
            version=model_version(manifest, table, self._location(manifest)),
            job=training_job(record),
        )

    async def _model(self, name: str) -> pb.Model:
        versions = await asyncio.to_thread(self._registry.versions, name)
        return model(name, versions, await self._aliases.read(name))

    async def _point(self, name: str, alias: str, version: int, etag: str) -> pb.Model:
        await asyncio.to_thread(self._registry.path, name, version)
        await self._aliases.set(name, alias, version, etag=etag)
        self._resolver.forget(name)
        await self._stores.durable()
        return await self._model(name)

    def _location(self, manifest: Manifest) -> str:
        return str(self._registry.path(manifest.model, manifest.version))

    def _report(self, manifest: Manifest) -> str:
        if REPORT_FILE not in manifest.artifacts:
            return ""
        file = self._registry.path(manifest.model, manifest.version) / REPORT_FILE
        return file.read_text(encoding="utf-8")
