"""Foreign checkpoints as people have them: a classifier of random weights with a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from classifiers import make_classifier, make_tokenizer

#: In an order that no sorting would make.
LABELS = ("zebra", "ant", "moth")

#: Ids of a word-level tokenizer by family: padding, unknown, first and last of a text.
_NAMES = {
    "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    "distilbert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    "roberta": ("<pad>", "<unk>", "<s>", "</s>"),
}


def make_checkpoint(
    folder: Path,
    family: str = "bert",
    labels: Sequence[str] = LABELS,
    change: Callable[[dict[str, Any]], object] | None = None,
    **shape: Any,
) -> Path:
    """A directory with config.json, model.safetensors and tokenizer.

    Args:
        folder: to write to.
        family: bert, distilbert or roberta.
        labels: names in the order of the outputs.
        change: is handed the configuration, to change it.
        shape: see `make_classifier`.
    """
    make_classifier(folder, family, labels=len(labels), **shape)
    save_tokenizer(folder, family)

    def name_labels(config: dict[str, Any]) -> None:
        # As strings, which is how JSON sorts "10" before "2".
        config["id2label"] = {str(number): name for number, name in enumerate(labels)}
        config["label2id"] = {name: number for number, name in enumerate(labels)}

    edit_config(folder, name_labels)
    if change is not None:
        edit_config(folder, change)
    return folder


def save_tokenizer(folder: Path, family: str = "bert", **settings: Any) -> None:
    """Writes the tokenizer as transformers does."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    make_tokenizer(folder, family)
    padding, unknown, first, last = _NAMES[family]
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_file(str(folder / "tokenizer.json")),
        pad_token=padding,
        unk_token=unknown,
        cls_token=first,
        sep_token=last,
        **settings,
    ).save_pretrained(folder)


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes config.json in place, its keys sorted as transformers sorts them."""
    file = folder / "config.json"
    config = json.loads(file.read_bytes())
    change(config)
    file.write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")
