"""The dictionary of visual n-grams: words in a row, one to five, that texts often have.

An n-gram that is frequent enough has frequent parts, so with every n-gram the dictionary has all that it is
made of. The same texts give the same dictionary, in whatever order they come. It travels with its model in
the place of a tokenizer.

Source: Li et al. 2017 (arXiv 1612.09161), section 3.1.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from limner.data.batches import stacked
from limner.data.rows import Sample
from limner.errors import DataError

ABSENT: Final = -1
"""An n-gram that is not in the dictionary; `limner.objectives.ngrams` says the same."""

TOO_SHORT: Final = -2
"""An n-gram that would begin before its text; likewise."""

_WORD: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words_of(text: str) -> list[str]:
    """Lower-cased words, without punctuation."""
    return _WORD.findall(text.lower())


class NGramDictionary:
    """N-grams by number.

    Args:
        ngrams: words joined by spaces; each one's beginning and end are there too.
    Raises: DataError when there is none, one is there twice, or a part is missing.
    """

    def __init__(self, ngrams: Sequence[str]) -> None:
        self.ngrams = tuple(ngrams)
        self._numbers = {ngram: number for number, ngram in enumerate(self.ngrams)}
        missing = [n for n in self.ngrams if " " in n and n.rpartition(" ")[0] not in self._numbers]
        if not self.ngrams or missing or len(self._numbers) != len(self.ngrams):
            given = f"{missing[0]!r} without its beginning" if missing else f"{len(self.ngrams)} n-grams"
            raise DataError(f"a dictionary of {given}", wanted="each once, and its parts with it")
        self.vocab_size = len(self.ngrams)
        self.order = max(ngram.count(" ") for ngram in self.ngrams) + 1

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], size: int = 142_806, order: int = 5, min_count: int = 2
    ) -> "NGramDictionary":
        """Take the most frequent n-grams; a tie goes to the shorter, then by spelling.

        Args:
            texts: as people wrote them.
            size: most n-grams.
            order: longest n-gram, words.
            min_count: rarer ones are left out; the paper's is 1,000 among 30 million texts.
        Raises: DataError when nothing is frequent enough.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            words = words_of(text)
            for length in range(1, order + 1):
                counts.update(" ".join(words[i : i + length]) for i in range(len(words) - length + 1))
        often = [ngram for ngram, count in counts.items() if count >= min_count]
        often.sort(key=lambda ngram: (-counts[ngram], ngram.count(" "), ngram))
        if not often:
            raise DataError(
                f"no word stands in the texts {min_count} times",
                wanted="texts that repeat words",
                hint="--set objective.min_count=1",
            )
        return cls(often[:size])

    @classmethod
    def from_json(cls, text: str) -> "NGramDictionary":
        """Read what `to_json` wrote.

        Raises: DataError when it is none.
        """
        try:
            model = json.loads(text)["model"]
            if model["type"] != "NGrams":
                raise KeyError(model["type"])
            return cls(model["ngrams"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"not a dictionary of n-grams: {error}", wanted="one written by limner"
            ) from error

    def to_json(self) -> str:
        """The dictionary as JSON; equal dictionaries give equal text."""
        model = {"type": "NGrams", "ngrams": list(self.ngrams)}
        return json.dumps({"model": model}, ensure_ascii=False, indent=1) + "\n"

    @property
    def prefixes(self) -> Int64[Tensor, " d"]:
        """Of each n-gram, 1 + the number of it without its last word; 0 of single words."""
        found = (ngram.rpartition(" ")[0] for ngram in self.ngrams)
        return torch.tensor([self._numbers[prefix] + 1 if prefix else 0 for prefix in found])

    def encode(self, text: str, max_words: int = 30) -> list[list[int]]:
        """For each word the n-grams that end there, from one word to `order`.

        Args:
            text: as a person wrote it.
            max_words: the first so many are read.
        """
        words = words_of(text)[:max_words]
        return [
            [self._number(words, end, length) for length in range(1, self.order + 1)]
            for end in range(1, len(words) + 1)
        ]

    def _number(self, words: list[str], end: int, length: int) -> int:
        if length > end:
            return TOO_SHORT
        return self._numbers.get(" ".join(words[end - length : end]), ABSENT)

    def knows(self, text: str) -> bool:
        """Whether a word of the text is in the dictionary."""
        return any(word in self._numbers for word in words_of(text))

    def encode_batch(self, texts: Sequence[str], max_words: int = 30) -> Int64[Tensor, "b t n"]:
        """N-grams of many texts, padded with `TOO_SHORT` to the longest; one place at least."""
        rows = [self.encode(text, max_words) for text in texts]
        longest = max([1, *map(len, rows)])
        padding = [TOO_SHORT] * self.order
        padded = [[*row, *[padding] * (longest - len(row))] for row in rows]
        return torch.tensor(padded, dtype=torch.int64).reshape(len(rows), longest, self.order)


class NGrammed(NamedTuple):
    """Pictures with the n-grams of a text each.

    Args:
        keys: of the rows, b long.
        images: u8 pixels.
        ngrams: for each word the n-grams that end there.
    """

    keys: list[str]
    images: UInt8[Tensor, "b 3 y x"]
    ngrams: Int64[Tensor, "b t n"]


@dataclass(frozen=True)
class AsNGrams:
    """How samples become `NGrammed`.

    Args:
        dictionary: of n-grams.
        max_words: longer texts are cut.
    """

    dictionary: NGramDictionary
    max_words: int = 30

    def __call__(self, samples: Sequence[Sample]) -> NGrammed:
        """Stack the pictures and look their texts up."""
        ngrams = self.dictionary.encode_batch([sample.caption for sample in samples], self.max_words)
        return NGrammed([sample.key for sample in samples], stacked(samples), ngrams)
