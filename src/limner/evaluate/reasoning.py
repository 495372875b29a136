"""Statements about two pictures: how many are judged right, and how many sentences wherever they stand.

Implements: accuracy, and consistency: the share of sentences judged right on every pair of pictures they are
said of. Pictures keep their sides, so that a measure is the same each time; the released code swaps them by
chance even then.
Checked against: loops from the definitions.

Source: Suhr et al. 2019 (NLVR2, arXiv 1811.00491), section 5; Li et al. 2022 (BLIP), section 5.4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from limner.checkpoint import Bundle
from limner.data.rows import Sample
from limner.data.statement_rows import StatementRows
from limner.data.statements import TRUTHS
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError
from limner.evaluate.pictures import MAX_TOKENS, Progress, device_of, normed
from limner.models.blip_nlvr2 import BLIPNLVR2


class Verdict(NamedTuple):
    """A statement with what the model makes of it.

    Args:
        key: of the row, and which of its statements this is.
        text: the sentence.
        truth: whether it holds.
        probability: that it does, as the model says.
    """

    key: str
    text: str
    truth: bool
    probability: float

    @property
    def right(self) -> bool:
        """Whether the likelier of the two is so; at one half, "false" is said."""
        return (self.probability > 0.5) == self.truth


@torch.inference_mode()
def verdicts(
    bundle: Bundle,
    rows: StatementRows,
    count: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> list[Verdict]:
    """Judge statements.

    Args:
        bundle: a `BLIPNLVR2` in eval mode, with its tokenizer.
        rows: at the model's size, without augmentation.
        count: the first so many statements; 0 is all.
        batch_size: statements at a time.
        progress: counts statements.
    Raises: CheckpointError when the model judges nothing.
    """
    if not isinstance(bundle.model, BLIPNLVR2) or not isinstance(bundle.tokenizer, WordPiece):
        raise CheckpointError(
            f"{bundle.path} is a {bundle.kind}, which does not judge statements about two pictures",
            wanted="a BLIP fine-tuned on them, with its tokenizer",
            hint="limner train recipes/nlvr.toml makes one",
        )
    total = min(count, len(rows)) if count else len(rows)
    found: list[Verdict] = []
    for start in range(0, total, batch_size):
        samples = rows.samples(range(start, min(start + batch_size, total)), 0)
        probabilities = _judged(bundle, samples).softmax(1)[:, 1].tolist()
        found += [
            Verdict(sample.key, sample.question, sample.answer == TRUTHS[1], probability)
            for sample, probability in zip(samples, probabilities, strict=True)
        ]
        if progress:
            progress(start + len(samples), total)
    return found


def _judged(bundle: Bundle, samples: Sequence[Sample]) -> Float[Tensor, "b 2"]:
    model, tokenizer = bundle.model, bundle.tokenizer
    assert isinstance(model, BLIPNLVR2)
    assert isinstance(tokenizer, WordPiece)
    device = device_of(bundle)
    left = normed([sample.image for sample in samples], bundle.image_spec, device)
    right = normed([s.other for s in samples if s.other is not None], bundle.image_spec, device)
    longest = min(MAX_TOKENS, model.config.text.max_positions)
    ids, mask = tokenizer.encode_batch([sample.question for sample in samples], longest)
    logits: Tensor = model(left, right, ids.to(device), mask.to(device)).logits.float()
    return logits


def consistency(texts: Sequence[str], right: Sequence[bool]) -> float:
    """Share of sentences that are judged right wherever they stand, [0, 1].

    Args:
        texts: one a statement; those of equal text are one sentence.
        right: whether each was judged right.
    """
    sentences: dict[str, bool] = {}
    for text, one in zip(texts, right, strict=True):
        sentences[text] = sentences.get(text, True) and bool(one)
    return sum(sentences.values()) / len(sentences)


def reasoning_quality(found: Sequence[Verdict]) -> dict[str, float]:
    """`accuracy`, `consistency` and `said_true`, the share held to be true, each in [0, 1]."""
    right = [one.right for one in found]
    return {
        "accuracy": sum(right) / len(right),
        "consistency": consistency([one.text for one in found], right),
        "said_true": sum(one.probability > 0.5 for one in found) / len(found),
    }
