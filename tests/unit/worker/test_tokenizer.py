from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from labelmill.worker.tokenizer import Tokenizer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "a": 4, "b": 5, "c": 6}
    built = tokenizers.Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    built.pre_tokenizer = Whitespace()
    built.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    # As files from the hub do.
    built.enable_truncation(4)
    built.enable_padding(length=4)
    path = tmp_path / "tokenizer.json"
    built.save(str(path))
    return path


def test_baked_in_truncation_and_padding_do_not_apply(file: Path) -> None:
    (short, long) = Tokenizer(file, 16).encode(["a", "a b c a b c"])
    assert short.ids == [1, 4, 2]
    assert long.ids == [1, 4, 5, 6, 4, 5, 6, 2]
    assert not long.truncated


def test_a_long_text_keeps_both_special_tokens_and_says_so(file: Path) -> None:
    (cut,) = Tokenizer(file, 5).encode(["a b c a b c"])
    assert cut.ids == [1, 4, 5, 6, 2]
    assert (cut.token_count, cut.truncated) == (8, True)


def test_a_text_of_just_the_limit_is_not_truncated(file: Path) -> None:
    (exact,) = Tokenizer(file, 5).encode(["a b c"])
    assert (exact.token_count, exact.truncated) == (5, False)
