"""Results of finished work, with token counts and the long-text policy applied."""

from __future__ import annotations

from labelmill.v1.classification_pb2 import (
    LONG_TEXT_POLICY_REJECT,
    ClassificationResult,
    ItemError,
    ScoringOptions,
)
from labelmill.worker.decide import decide
from labelmill.worker.work import Work


def results_of(work: Work, options: ScoringOptions) -> list[ClassificationResult]:
    """One result a text of `work`, in order."""
    results = decide(work.logits, work.model.manifest, options)
    limit = work.model.tokenizer.max_length
    for position, (result, tokens) in enumerate(zip(results, work.tokens, strict=True)):
        if tokens.truncated and options.long_text_policy == LONG_TEXT_POLICY_REJECT:
            results[position] = ClassificationResult(
                token_count=tokens.token_count,
                error=ItemError(
                    reason="TEXT_TOO_LONG",
                    message=f"the text has {tokens.token_count} tokens and the model takes "
                    f"{limit}; shorten it, or use the truncate policy",
                ),
            )
            continue
        result.token_count = tokens.token_count
        result.truncated = tokens.truncated
    return results
