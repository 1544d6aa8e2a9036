from __future__ import annotations

from collections.abc import Callable

import pytest
from servers import Refusal

from labelmill.registry import Description, Registry
from labelmill.v1 import models_pb2 as pb
from labelmill.v1.models_pb2_grpc import ModelServiceStub

Refused = Callable[..., Refusal]


def point(models: ModelServiceStub, alias: str, version: int, etag: str = "") -> pb.Model:
    request = pb.SetModelAliasRequest(model="reviews", alias=alias, version=version, etag=etag)
    return models.SetModelAlias(request, timeout=20).model


def test_models_are_listed_by_name_and_page(models: ModelServiceStub, registry: Registry) -> None:
    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListModelsRequest(page_size=1, page_token=token)
        page = models.ListModels(request, timeout=20)
        assert len(page.models) == 1
        seen.append(page.models[0].name)
        if not (token := page.next_page_token):
            break
    assert seen == registry.models()
    assert {"plain", "reviews"} <= set(seen)


def test_a_model_tells_its_versions_and_aliases(models: ModelServiceStub) -> None:
    model = models.GetModel(pb.GetModelRequest(name="reviews"), timeout=20).model
    assert (model.latest_version, model.version_count, list(model.aliases)) == (2, 2, [])
    model = point(models, "canary", 1)
    assert [(entry.alias, entry.version) for entry in model.aliases] == [("canary", 1)]


def test_versions_are_listed_newest_first(models: ModelServiceStub, refused: Refused) -> None:
    point(models, "stable", 1)
    request = pb.ListModelVersionsRequest(model="reviews", page_size=1)
    first = models.ListModelVersions(request, timeout=20)
    request.page_token = first.next_page_token
    second = models.ListModelVersions(request, timeout=20)
    assert [first.versions[0].version, second.versions[0].version] == [2, 1]
    assert list(second.versions[0].aliases) == ["stable"]
    assert second.next_page_token == ""

    request = pb.ListModelVersionsRequest(model="plain", page_token=first.next_page_token)
    status = refused(models.ListModelVersions, request)
    assert (status.code, list(status.fields)) == ("INVALID_ARGUMENT", ["page_token"])


def test_a_version_tells_all_about_itself(models: ModelServiceStub) -> None:
    request = pb.GetModelVersionRequest(model="reviews@2", verify=True)
    answer = models.GetModelVersion(request, timeout=20)
    version = answer.version
    assert (version.model, version.version, list(version.labels)) == ("reviews", 2, ["bad", "good"])
    assert list(version.engines) == [
        *("onnx-int8", "onnx-fp32", "torch-fp32", "torch-bf16", "openvino-int8")
    ]
    assert version.metrics["int8.accuracy"] == 0.9
    assert {file.name for file in version.artifacts} >= {
        "model.int8.onnx",
        "torch/model.safetensors",
    }
    assert answer.report_json == '{"seconds": 1}'
    assert version.location.endswith("models/reviews/2")


@pytest.mark.parametrize("verify", [True, False])
def test_an_altered_file_is_found_when_asked_for(
    models: ModelServiceStub, registry: Registry, refused: Refused, verify: bool
) -> None:
    model = f"altered-{verify}".lower()
    with registry.stage(model) as staging:
        (staging.path / "model.fp32.onnx").write_bytes(b"weights")
        staging.publish(
            Description(
                base_model="minilm",
                architecture="bert",
                labels=["bad", "good"],
                max_length=128,
                pad_token_id=0,
                engines=["onnx-fp32"],
            )
        )
    (registry.path(model, 1) / "model.fp32.onnx").write_bytes(b"WEIGHTS")
    request = pb.GetModelVersionRequest(model=model, verify=verify)
    if not verify:
        assert models.GetModelVersion(request, timeout=20).version.version == 1
        return
    status = refused(models.GetModelVersion, request)
    assert (status.code, status.reason) == ("DATA_LOSS", "ARTIFACT_CORRUPT")
    assert "SHA-256" in status.message


def test_an_alias_moves_only_with_the_right_etag(
    models: ModelServiceStub, refused: Refused
) -> None:
    etag = models.GetModel(pb.GetModelRequest(name="reviews"), timeout=20).model.etag
    moved = point(models, "default", 1, etag)
    assert moved.etag != etag
    request = pb.SetModelAliasRequest(model="reviews", alias="default", version=2, etag=etag)
    status = refused(models.SetModelAlias, request)
    assert (status.code, status.reason) == ("ABORTED", "ETAG_MISMATCH")
    model = models.GetModel(pb.GetModelRequest(name="reviews"), timeout=20).model
    assert [(entry.alias, entry.version) for entry in model.aliases] == [("default", 1)]


def test_an_alias_of_nothing_is_refused(models: ModelServiceStub, refused: Refused) -> None:
    for request, code, field in (
        (
            pb.SetModelAliasRequest(model="reviews", alias="5", version=1),
            "INVALID_ARGUMENT",
            "alias",
        ),
        (pb.SetModelAliasRequest(model="reviews", alias="a"), "INVALID_ARGUMENT", "version"),
        (pb.SetModelAliasRequest(model="", alias="a", version=1), "INVALID_ARGUMENT", "model"),
        (pb.SetModelAliasRequest(model="reviews", alias="a", version=9), "NOT_FOUND", None),
        (pb.SetModelAliasRequest(model="nothing", alias="a", version=1), "NOT_FOUND", None),
    ):
        status = refused(models.SetModelAlias, request)
        assert (status.code, next(iter(status.fields), None)) == (code, field)


def test_unknown_models_are_not_found(models: ModelServiceStub, refused: Refused) -> None:
    for method, request in (
        (models.GetModel, pb.GetModelRequest(name="nothing")),
        (models.ListModelVersions, pb.ListModelVersionsRequest(model="nothing")),
        (models.GetModelVersion, pb.GetModelVersionRequest(model="reviews@9")),
        (models.RollbackModel, pb.RollbackModelRequest(model="nothing")),
    ):
        status = refused(method, request)
        assert (status.code, status.reason) == ("NOT_FOUND", "MODEL_NOT_FOUND")


def test_a_rollback_goes_back_to_the_version_before(
    models: ModelServiceStub, refused: Refused
) -> None:
    status = refused(models.RollbackModel, pb.RollbackModelRequest(model="reviews"))
    assert status.code == "FAILED_PRECONDITION"
    point(models, "default", 1)
    point(models, "default", 2)
    model = models.RollbackModel(pb.RollbackModelRequest(model="reviews"), timeout=20).model
    assert [(entry.alias, entry.version) for entry in model.aliases] == [("default", 1)]


def test_what_comes_later_says_so(models: ModelServiceStub, refused: Refused) -> None:
    request = pb.DeleteModelVersionRequest(model="reviews", version=1)
    status = refused(models.DeleteModelVersion, request)
    assert (status.code, status.reason) == ("UNIMPLEMENTED", "UNIMPLEMENTED")
    assert "later release" in status.message
