"""Batches of pictures with a text in WordPiece each, and with the concepts that stand in it.

Concepts are words that a caption may be asked for: the frequent ones of the texts that are no function words
and one token of the vocabulary, so that one place can be masked. No tagger is at hand; the list of function
words stands in for one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from limner.data.batches import stacked
from limner.data.rows import Sample
from limner.data.tokenizers import WordPiece
from limner.errors import DataError

FUNCTION_WORDS: Final = frozenset(
    (Path(__file__).parents[1] / "assets" / "function_words.txt").read_text(encoding="utf-8").split()
)
"""English words that name nothing to be seen."""

NONE: Final = -1
"""Where a text has no concept; `limner.objectives.masked_word` says the same."""


class Worded(NamedTuple):
    """Pictures with one text each.

    Args:
        keys: of the rows, b long.
        images: u8 pixels.
        ids: tokens, padded on the right to the longest.
        mask: True where a token is real.
    """

    keys: list[str]
    images: UInt8[Tensor, "b 3 y x"]
    ids: Int64[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]


class Tagged(NamedTuple):
    """Pictures with one text each, and where concepts stand in it.

    Args:
        keys: of the rows, b long.
        images: u8 pixels.
        ids: tokens, padded on the right to the longest.
        mask: True where a token is real.
        concepts: number of the concept at each place, or `NONE`.
    """

    keys: list[str]
    images: UInt8[Tensor, "b 3 y x"]
    ids: Int64[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]
    concepts: Int64[Tensor, "b t"]


@dataclass(frozen=True)
class AsWorded:
    """How samples become `Worded`.

    Args:
        tokenizer: WordPiece.
        max_tokens: longest text, start and end included; longer ones are cut.
    """

    tokenizer: WordPiece
    max_tokens: int = 32

    def __call__(self, samples: Sequence[Sample]) -> Worded:
        """Stack the pictures and tokenise their texts."""
        ids, mask = self.tokenizer.encode_batch([sample.caption for sample in samples], self.max_tokens)
        return Worded([sample.key for sample in samples], stacked(samples), ids, mask)


@dataclass(frozen=True)
class AsTagged:
    """How samples become `Tagged`.

    Args:
        tokenizer: WordPiece.
        concepts: words, by number; each is one token.
        max_tokens: longest text, start and end included; longer ones are cut.
    """

    tokenizer: WordPiece
    concepts: tuple[str, ...]
    max_tokens: int = 32

    def __call__(self, samples: Sequence[Sample]) -> Tagged:
        """Stack the pictures, tokenise their texts and find the concepts in them."""
        plain = AsWorded(self.tokenizer, self.max_tokens)(samples)
        found = concepts_in(plain.ids, self.tokenizer.tokens, self.concepts)
        return Tagged(*plain, found)


def concepts_in(
    ids: Int64[Tensor, "b t"], tokens: Sequence[str], concepts: Sequence[str]
) -> Int64[Tensor, "b t"]:
    """Number of the concept at each place of texts, or `NONE`; the beginning of a longer word is no concept.

    Args:
        ids: tokens.
        tokens: every token, by id.
        concepts: words, by number.
    """
    numbers = {word: number for number, word in enumerate(concepts)}
    of_token = torch.tensor([numbers.get(token, NONE) for token in tokens])
    goes_on = torch.tensor([token.startswith("##") for token in tokens])
    broken = torch.nn.functional.pad(goes_on[ids[:, 1:]], (0, 1))
    return of_token[ids].masked_fill(broken, NONE)


def concept_words(tokenizer: WordPiece, texts: Iterable[str], most: int) -> tuple[str, ...]:
    """The most frequent words that may be asked for, a tie by spelling.

    Args:
        tokenizer: a concept is one token of it.
        texts: as people wrote them.
        most: words.
    Raises: DataError when there is none.
    """
    tokens = tokenizer.tokens
    counts: Counter[str] = Counter()
    for text in texts:
        pieces = [tokens[i] for i in tokenizer.encode(text, 512)]
        counts.update(
            piece
            for piece, after in pairwise(pieces)
            if _names_something(piece) and not after.startswith("##")
        )
    if not counts:
        raise DataError(
            "no text has a word that could be masked",
            wanted="captions whose content words are in the vocabulary",
            hint="--set tokenizer.vocab_size=… higher, so that words are whole tokens",
        )
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:most])


def _names_something(piece: str) -> bool:
    return len(piece) > 1 and piece.isalpha() and piece not in FUNCTION_WORDS
