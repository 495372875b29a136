"""Batches of tasks that need less than pairs: pictures alone, with a class, or with one text for CLIP.

`data/loader.py` has the batch of pairs with questions. Every batch begins with the keys of its rows; all else
in it is tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from limner.data.bpe import CLIPTokenizer
from limner.data.rows import Sample
from limner.errors import DataError


class Pictures(NamedTuple):
    """Pictures alone.

    Args:
        keys: of the rows, b long.
        images: u8 pixels.
    """

    keys: list[str]
    images: UInt8[Tensor, "b 3 y x"]


class Labelled(NamedTuple):
    """Pictures with a class each.

    Args:
        keys: of the rows, b long.
        images: u8 pixels.
        labels: numbers of the classes.
    """

    keys: list[str]
    images: UInt8[Tensor, "b 3 y x"]
    labels: Int64[Tensor, " b"]


class Captioned(NamedTuple):
    """Pictures with one text each.

    Args:
        keys: of the rows, b long.
        images: u8 pixels.
        ids: tokens, cut to the longest of the batch.
    """

    keys: list[str]
    images: UInt8[Tensor, "b 3 y x"]
    ids: Int64[Tensor, "b t"]


@dataclass(frozen=True)
class AsPictures:
    """How samples become `Pictures`."""

    def __call__(self, samples: Sequence[Sample]) -> Pictures:
        """Stack the pictures."""
        return Pictures([sample.key for sample in samples], stacked(samples))


@dataclass(frozen=True)
class AsLabelled:
    """How samples become `Labelled`.

    Args:
        labels: class names in the order of the logits.
    """

    labels: tuple[str, ...]

    def __call__(self, samples: Sequence[Sample]) -> Labelled:
        """Stack the pictures and number their classes.

        Raises: DataError when a row has no label, or one that is no class.
        """
        found = numbered([(sample.key, sample.label) for sample in samples], self.labels)
        return Labelled([sample.key for sample in samples], stacked(samples), found)


@dataclass(frozen=True)
class AsCaptioned:
    """How samples become `Captioned`.

    Args:
        tokenizer: CLIP's.
        context: longest text, start and end included; longer ones are cut.
    """

    tokenizer: CLIPTokenizer
    context: int = 77

    def __call__(self, samples: Sequence[Sample]) -> Captioned:
        """Stack the pictures and tokenise their texts."""
        ids, _ = self.tokenizer.encode_batch([sample.caption for sample in samples], self.context)
        return Captioned([sample.key for sample in samples], stacked(samples), ids)


def stacked(samples: Sequence[Sample]) -> UInt8[Tensor, "b 3 y x"]:
    """The pictures of samples, all of one size; channels last in memory, as convolutions like it."""
    pixels = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return pixels.permute(0, 3, 1, 2)


def numbered(rows: Sequence[tuple[str, str | None]], classes: Sequence[str]) -> Int64[Tensor, " b"]:
    """Numbers of the classes of rows, given as (key, label).

    Raises: DataError when a row has no label, or one that is no class.
    """
    numbers = {label: number for number, label in enumerate(classes)}
    for key, label in rows:
        if label not in numbers:
            raise DataError(
                f"row {key!r} has the label {label!r}",
                wanted=f"one of {', '.join(classes[:8])}{' …' * (len(classes) > 8)}",
                hint='leave such rows out: where = "label in (…)"',
            )
    return torch.tensor([numbers[label or ""] for _, label in rows])
