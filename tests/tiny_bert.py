"""A BERT of random weights and a data set that it can learn, both small enough for a test."""

from __future__ import annotations

import random
from pathlib import Path

GOOD = ["great", "fine", "lovely", "superb", "happy"]
BAD = ["dull", "awful", "poor", "broken", "sad"]
FILLER = ["the", "film", "was", "and", "a", "very", "plot", "cast", "end", "it"]


def make_base_model(folder: Path) -> Path:
    """A Hugging Face directory: two layers of width 32, and a word-level tokenizer."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*special, *GOOD, *BAD, *FILLER]
    built = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    built.pre_tokenizer = Whitespace()
    built.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=built,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def make_rows(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Distinct texts, half of each label, told apart by one word."""
    rng = random.Random(seed)
    rows: dict[str, str] = {}
    while len(rows) < count:
        label, words = (("good", GOOD), ("bad", BAD))[len(rows) % 2]
        text = [rng.choice(words), *rng.choices(FILLER, k=rng.randrange(3, 9))]
        rng.shuffle(text)
        rows.setdefault(" ".join(text), label)
    return list(rows.items())


def write_csv(file: Path, rows: list[tuple[str, str]]) -> Path:
    """The rows as CSV with the usual columns."""
    lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file
