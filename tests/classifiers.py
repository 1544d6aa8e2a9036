"""Classification checkpoints of every family we export, of random weights, small enough to test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_bert import BAD, FILLER, GOOD

FAMILIES = ("bert", "distilbert", "roberta")

#: Special tokens by family, each at the id of its position; the first is the padding of BERT.
_SPECIAL = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
    "distilbert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>"],
}


def make_classifier(
    folder: Path, family: str = "bert", labels: int = 2, hidden: int = 64, rows: int = 100
) -> Path:
    """A Hugging Face directory with a word-level tokenizer.json.

    Args:
        folder: to write to.
        family: one of `FAMILIES`.
        labels: outputs of the classifier.
        hidden: width; the model has two layers.
        rows: of the table of word embeddings, most of which no text names.
    """
    import torch

    make_tokenizer(folder, family)
    torch.manual_seed(0)
    model = _model(family, labels, hidden, rows)
    # Layer norms, biases and pooler of a fresh model are ones and zeros, and would hide mistakes.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


def make_tokenizer(folder: Path, family: str) -> None:
    """Writes tokenizer.json: words become ids."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    special = _SPECIAL[family]
    words = [*special, *GOOD, *BAD, *FILLER]
    ids = {word: index for index, word in enumerate(words)}
    start, end = ("<s>", "</s>") if family == "roberta" else ("[CLS]", "[SEP]")
    unknown = next(word for word in special if "unk" in word.lower())
    built = Tokenizer(WordLevel(ids, unk_token=unknown))
    built.pre_tokenizer = Whitespace()
    built.post_processor = TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, ids[start]), (end, ids[end])]
    )
    folder.mkdir(parents=True, exist_ok=True)
    built.save(str(folder / "tokenizer.json"))


def _model(family: str, labels: int, hidden: int, rows: int) -> Any:
    import transformers as hf

    if family == "distilbert":
        distil = hf.DistilBertConfig(
            vocab_size=rows,
            dim=hidden,
            n_layers=2,
            n_heads=2,
            hidden_dim=2 * hidden,
            max_position_embeddings=64,
            num_labels=labels,
        )
        return hf.DistilBertForSequenceClassification(distil)
    shape = {
        "vocab_size": rows,
        "hidden_size": hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 2 * hidden,
        "max_position_embeddings": 66,
        "num_labels": labels,
    }
    if family == "roberta":
        return hf.RobertaForSequenceClassification(
            hf.RobertaConfig(**shape, pad_token_id=1, type_vocab_size=1)
        )
    return hf.BertForSequenceClassification(hf.BertConfig(**shape, pad_token_id=0))


def train(folder: Path, texts: list[str], targets: list[int], steps: int) -> None:
    """Fine-tunes the checkpoint in place, so that it decides by real margins."""
    import torch

    from labelmill.worker.engines import pad
    from labelmill.worker.engines.torch import load_model
    from labelmill.worker.tokenizer import Tokenizer

    model = load_model(folder, torch.float32).train()
    rows = [tokens.ids for tokens in Tokenizer(folder / "tokenizer.json", 64).encode(texts)]
    input_ids, attention_mask = (
        torch.from_numpy(array) for array in pad(rows, model.config.pad_token_id)
    )
    labels = torch.tensor(targets)
    model.get_input_embeddings().weight.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    torch.manual_seed(0)
    for step in range(steps):
        batch = torch.arange(32 * step, 32 * step + 32) % len(texts)
        loss = model(
            input_ids=input_ids[batch],
            attention_mask=attention_mask[batch],
            labels=labels[batch],
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
