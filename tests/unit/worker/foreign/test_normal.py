"""Checkpoints in all the forms that people save them in, brought into one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import LABELS, edit_config, make_checkpoint, save_tokenizer
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel

from labelmill.errors import InvalidArgumentError
from labelmill.worker.foreign.normal import Normal, differing_texts, normalize
from labelmill.worker.foreign.source import read_source
from labelmill.worker.tokenizer import Tokenizer

TEXTS = ["the film was great", "awful plot", "a very very sad end"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "checkpoint")


def normal(folder: Path, max_length: int | None = None) -> Normal:
    return normalize(read_source(folder), folder.with_name("normal"), max_length)


def refused(folder: Path, max_length: int | None = None) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        normal(folder, max_length)
    return caught.value


def logits(folder: Path) -> torch.Tensor:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([[2, 5, 9, 3]])
    with torch.no_grad():
        scores: torch.Tensor = model.eval()(input_ids=ids).logits
    return scores


def test_it_holds_the_same_model_and_labels(checkpoint: Path) -> None:
    made = normal(checkpoint)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        file.name for file in made.folder.iterdir()
    }
    config = json.loads((made.folder / "config.json").read_text())
    assert config["id2label"] == {str(number): name for number, name in enumerate(LABELS)}
    torch.testing.assert_close(logits(made.folder), logits(checkpoint))
    assert (made.pad_token_id, made.warnings) == (0, [])


def test_parts_become_one_file(checkpoint: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    wanted = logits(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    model.save_pretrained(checkpoint, max_shard_size="50KB")
    assert len(list(checkpoint.glob("model-*.safetensors"))) > 2
    made = normal(checkpoint)
    assert [file.name for file in made.folder.glob("model*")] == ["model.safetensors"]
    torch.testing.assert_close(logits(made.folder), wanted)


def test_half_precision_becomes_fp32(checkpoint: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float16)
    model.save_pretrained(checkpoint)
    weights = load_file(normal(checkpoint).folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_an_encoder_without_a_head_is_no_classifier(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shape = {"vocab_size": 24, "hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 32}
    BertModel(BertConfig(**shape, num_attention_heads=2)).save_pretrained(folder)
    save_tokenizer(folder)
    # As some hand-written configurations do, it claims to be one.
    edit_config(folder, lambda c: c.update(architectures=["BertForSequenceClassification"]))
    error = refused(folder)
    assert "lacks the weights classifier.bias, classifier.weight" in error.message
    assert "--base" in error.message


def test_names_for_fewer_labels_than_the_weights_have(checkpoint: Path) -> None:
    edit_config(checkpoint, lambda c: c.update(id2label={"0": "a", "1": "b"}))
    message = refused(checkpoint).message
    assert "names 2 labels, but the weights have 3 outputs" in message
    assert "mend id2label" in message


def test_weights_of_another_shape_than_described(checkpoint: Path) -> None:
    edit_config(checkpoint, lambda c: c.update(intermediate_size=64))
    assert "do not belong together" in refused(checkpoint).message


def test_weights_that_nobody_uses_are_warned_of(checkpoint: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    weights["classifier2.weight"] = torch.zeros(3, 3)
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    assert "classifier2.weight" in normal(checkpoint).warnings[0]


def test_a_vocabulary_file_becomes_a_tokenizer(checkpoint: Path) -> None:
    for file in checkpoint.glob("*token*"):
        file.unlink()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "##s", "great"]
    (checkpoint / "vocab.txt").write_text("\n".join(words))
    made = normal(checkpoint)
    (tokens,) = Tokenizer(made.folder / "tokenizer.json", made.max_length).encode(["Great films"])
    assert tokens.ids == [2, 7, 5, 6, 3]


def test_a_missing_tokenizer_is_not_made_up(checkpoint: Path) -> None:
    for file in checkpoint.glob("*token*"):
        file.unlink()
    error = refused(checkpoint)
    assert error.violations[0].field == "source_directory"
    assert "neither tokenizer.json nor vocab.txt" in error.message


def test_a_broken_tokenizer_is_named(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").write_text("{}")
    assert "its tokenizer cannot be loaded" in refused(checkpoint).message


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", rows=20)
    assert "ids up to 23, its table of words only 20 rows" in refused(folder).message


def test_transformers_way_of_reading_counts_and_is_told(checkpoint: Path) -> None:
    assert differing_texts(read_source(checkpoint), normal(checkpoint), TEXTS) == 0
    # By itself the file splits at white space only; a BertTokenizer also splits at punctuation.
    (checkpoint / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert differing_texts(read_source(checkpoint), normal(checkpoint), [*TEXTS, "GREAT"]) == 1


def test_texts_cut_at_their_beginning_are_warned_of(checkpoint: Path) -> None:
    save_tokenizer(checkpoint, truncation_side="left")
    assert "cut at their end" in normal(checkpoint).warnings[0]


@pytest.mark.parametrize(
    ("family", "bound", "asked", "tokens"),
    [
        ("bert", None, None, 66),
        ("bert", 32, None, 32),
        ("bert", 32, 48, 48),
        # Positions of RoBERTa start after the padding id.
        ("roberta", None, None, 64),
    ],
)
def test_texts_are_as_long_as_the_checkpoint_reads(
    tmp_path: Path, family: str, bound: int | None, asked: int | None, tokens: int
) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", family)
    settings: dict[str, Any] = {} if bound is None else {"model_max_length": bound}
    save_tokenizer(folder, family, **settings)
    assert normal(folder, asked).max_length == tokens


@pytest.mark.parametrize("asked", [4, 67])
def test_lengths_that_the_checkpoint_does_not_read(checkpoint: Path, asked: int) -> None:
    error = refused(checkpoint, asked)
    assert [violation.field for violation in error.violations] == ["max_length"]
    assert "8 to 66 tokens" in error.message
