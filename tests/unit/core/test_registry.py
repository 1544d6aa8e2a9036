from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from labelmill.errors import ArtifactCorruptError, InvalidArgumentError, ModelNotFoundError
from labelmill.registry import Description, Gate, Registry


def description() -> Description:
    return Description(
        base_model="b",
        architecture="bert",
        labels=["no", "yes"],
        max_length=16,
        pad_token_id=0,
        engines=["onnx-fp32"],
    )


def publish(registry: Registry, model: str = "m", content: str = "weights") -> int:
    with registry.stage(model) as staging:
        (staging.path / "torch").mkdir()
        (staging.path / "torch" / "config.json").write_text("{}")
        (staging.path / "model.fp32.onnx").write_text(content)
        return staging.publish(description()).version


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def test_versions_count_up_and_are_read_back(registry: Registry) -> None:
    assert [publish(registry), publish(registry)] == [1, 2]
    manifest = registry.verify("m", 2)
    assert manifest.labels == ["no", "yes"]
    assert sorted(manifest.artifacts) == ["model.fp32.onnx", "torch/config.json"]
    assert registry.models() == ["m"]


def test_an_altered_file_is_refused_by_checksum(registry: Registry) -> None:
    publish(registry)
    file = registry.path("m", 1) / "model.fp32.onnx"
    file.write_text("WEIGHTS")
    assert registry.manifest("m", 1).version == 1
    with pytest.raises(ArtifactCorruptError, match="model.fp32.onnx.*altered") as caught:
        registry.verify("m", 1)
    assert caught.value.metadata == {"artifact": "model.fp32.onnx"}


def test_a_missing_file_is_named(registry: Registry) -> None:
    publish(registry)
    (registry.path("m", 1) / "torch" / "config.json").unlink()
    with pytest.raises(ArtifactCorruptError, match="torch/config.json.*missing"):
        registry.manifest("m", 1)


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 1}'])
def test_a_broken_manifest_is_refused(registry: Registry, text: str) -> None:
    publish(registry)
    (registry.path("m", 1) / "manifest.json").write_text(text)
    with pytest.raises(ArtifactCorruptError, match="manifest"):
        registry.manifest("m", 1)


def test_a_manifest_of_another_schema_is_refused(registry: Registry) -> None:
    publish(registry)
    path = registry.path("m", 1) / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"schema_version": 2}))
    with pytest.raises(ArtifactCorruptError, match="schema_version"):
        registry.manifest("m", 1)


def test_a_failed_staging_leaves_nothing(registry: Registry) -> None:
    def fail() -> None:
        with registry.stage("m") as staging:
            (staging.path / "model.fp32.onnx").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert list((registry.root / "models" / "m").iterdir()) == []
    with pytest.raises(ModelNotFoundError, match="no model 'm'"):
        registry.versions("m")


def test_publishing_at_once_gives_each_a_number_of_its_own(registry: Registry) -> None:
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda i=i: numbers.append(publish(registry, content=str(i))))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 9))
    assert len({(registry.path("m", n) / "model.fp32.onnx").read_text() for n in numbers}) == 8


def test_an_unknown_version_names_those_there_are(registry: Registry) -> None:
    publish(registry)
    with pytest.raises(ModelNotFoundError, match="no version 7; it has 1"):
        registry.manifest("m", 7)


def test_a_model_name_cannot_leave_the_registry(registry: Registry) -> None:
    with pytest.raises(InvalidArgumentError):
        registry.versions("../m")


def test_a_version_whose_gate_is_no_number_can_be_read_back(registry: Registry) -> None:
    gate = Gate(name="int8.label_agreement", value=float("nan"), limit=0.99, at_least=True)
    with registry.stage("m") as staging:
        staging.publish(description().model_copy(update={"gates": [gate]}))
    (read,) = registry.manifest("m", 1).gates
    assert not read.passed


def test_a_gate_with_no_number_does_not_pass() -> None:
    assert not Gate(name="g", value=float("nan"), limit=0.99, at_least=True).passed
    assert not Gate(name="g", value=float("nan"), limit=0.99, at_least=False).passed


def test_what_a_killed_run_staged_is_discarded_by_its_name(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    with registry.stage("m", "job-1") as killed, registry.stage("m", "job-11") as alive:
        (killed.path / "half").write_bytes(b"written")
        registry.discard("m", "job-1")
        assert not killed.path.exists()
        assert alive.path.exists()
