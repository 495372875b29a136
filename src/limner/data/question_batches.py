"""Batches of questions with weighted answers, and of statements about two pictures; see `data/batches.py`.

An answer weighs its share of those that people gave to the question.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), sections 5.3 and 5.4.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from limner.data.batches import stacked
from limner.data.rows import Sample
from limner.data.statements import TRUTHS
from limner.data.tokenizers import WordPiece, clean_question


class Questions(NamedTuple):
    """Pictures with one question each and its answers.

    Args:
        keys: of the rows, b long.
        images: u8 pixels.
        ids: questions, [CLS] … ? [SEP], padded on the right.
        mask: True on real tokens.
        answer_ids: distinct answers of each question, [CLS] … [SEP], padded; rows past its last are padding.
        answer_mask: True on real tokens.
        weights: share of each answer, those of a question sum to 1; 0 where there is none. A question that
            nobody answered has an empty answer of no weight, so that every batch reads all of the model.
    """

    keys: list[str]
    images: UInt8[Tensor, "b 3 y x"]
    ids: Int64[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]
    answer_ids: Int64[Tensor, "b k u"]
    answer_mask: Bool[Tensor, "b k u"]
    weights: Float32[Tensor, "b k"]


class Statements(NamedTuple):
    """Pairs of pictures with one statement each.

    Args:
        keys: of the statements, b long.
        left: u8 pixels.
        right: u8 pixels.
        ids: statements, [CLS] … [SEP], padded on the right.
        mask: True on real tokens.
        truths: 1 where the statement holds.
    """

    keys: list[str]
    left: UInt8[Tensor, "b 3 y x"]
    right: UInt8[Tensor, "b 3 y x"]
    ids: Int64[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]
    truths: Int64[Tensor, " b"]


@dataclass(frozen=True)
class AsQuestions:
    """How samples become `Questions`.

    Args:
        tokenizer: the model's own.
        max_tokens: longest question, and longest answer.
    """

    tokenizer: WordPiece
    max_tokens: int = 35

    def __call__(self, samples: Sequence[Sample]) -> Questions:
        """Stack the pictures, tokenise questions and answers, weigh the answers."""
        asked = [clean_question(sample.question) for sample in samples]
        ids, mask = self.tokenizer.encode_batch(asked, self.max_tokens)
        shares = [answer_shares(sample.answers or (sample.answer,)) or {"": 0.0} for sample in samples]
        most = max(map(len, shares))
        texts = [answer for share in shares for answer in share]
        answer_ids, answer_mask = self.tokenizer.encode_batch(texts, self.max_tokens)
        place = torch.tensor(
            [row * most + i for row, share in enumerate(shares) for i in range(len(share))], dtype=torch.int64
        )
        rows, width = len(samples) * most, answer_ids.shape[1]
        weights = torch.tensor([weight for share in shares for weight in share.values()], dtype=torch.float32)
        padded = torch.full((rows, width), self.tokenizer.pad_id).index_copy(0, place, answer_ids)
        real = torch.zeros(rows, width, dtype=torch.bool).index_copy(0, place, answer_mask)
        return Questions(
            [sample.key for sample in samples],
            stacked(samples),
            ids,
            mask,
            padded.view(len(samples), most, width),
            real.view(len(samples), most, width),
            torch.zeros(rows).index_copy(0, place, weights).view(-1, most),
        )


@dataclass(frozen=True)
class AsStatements:
    """How samples become `Statements`.

    Args:
        tokenizer: the model's own.
        max_tokens: longest statement.
    """

    tokenizer: WordPiece
    max_tokens: int = 64

    def __call__(self, samples: Sequence[Sample]) -> Statements:
        """Stack both pictures and tokenise the statements."""
        ids, mask = self.tokenizer.encode_batch([sample.question for sample in samples], self.max_tokens)
        right = torch.from_numpy(np.stack([sample.other for sample in samples if sample.other is not None]))
        truths = torch.tensor([TRUTHS.index(sample.answer) for sample in samples])
        keys = [sample.key for sample in samples]
        return Statements(keys, stacked(samples), right.permute(0, 3, 1, 2), ids, mask, truths)


def answer_shares(answers: Sequence[str]) -> dict[str, float]:
    """Each distinct answer with its share, in the order first given; those without a word do not count.

    Args:
        answers: as people gave them; letter case and outer spaces do not tell answers apart.
    Source: BLIP's `vqa_dataset`.
    """
    counts = Counter(answer.strip().lower() for answer in answers if answer.strip())
    return {answer: count / counts.total() for answer, count in counts.items()}
