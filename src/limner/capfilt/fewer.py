"""A quicker BLIP that merges alike tokens of its pictures, and how far its captions and scores differ."""

import time
from collections.abc import Sequence
from contextlib import suppress
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from limner.capfilt.bulk import BulkSettings
from limner.capfilt.caption import Caption, caption_images, image_tokens
from limner.capfilt.measure import Job, measure
from limner.checkpoint import Bundle
from limner.data.intake import open_picture
from limner.data.table import Table
from limner.data.transforms import to_u8
from limner.errors import CheckpointError, PictureError
from limner.models.blip import BLIP
from limner.models.blip_vqa import BLIPVQA
from limner.models.decoding import Decoding
from limner.models.merging import with_merging

_ROUNDS, _PICTURES = 3, 16


class Agreement(NamedTuple):
    """How captions with merged tokens compare with those of the whole model.

    Args:
        pictures: compared.
        same: captions that are the very same.
        words: mean share of words that both have in the same order, 0 to 1.
        speed: of the image encoder, times that of the whole one.
    """

    pictures: int
    same: int
    words: float
    speed: float

    @property
    def said(self) -> str:
        """In a line."""
        return (
            f"of {self.pictures} pictures {self.same} captions are the same as without merging, "
            f"{self.words:.0%} of words; the image encoder is {self.speed:.2f} times as fast"
        )


class Judged(NamedTuple):
    """How a filter with merged tokens compares with the whole one, on web texts that either scores.

    Args:
        texts: compared.
        same: of them, kept by both or dropped by both.
        apart: mean distance of the match probabilities, 0 to 1, where both have one.
        threshold: match probability from which a text is kept.
    """

    texts: int
    same: int
    apart: float
    threshold: float

    @property
    def said(self) -> str:
        """In a line."""
        return (
            f"of {self.texts} web texts {self.same} are kept or dropped as without merging, "
            f"by ITM from {self.threshold:g}; it differs by {self.apart:.3f} in the mean"
        )


def merging(bundle: Bundle, each: int) -> Bundle:
    """A bundle whose image encoder loses so many tokens in every block; its digest says so.

    Args:
        bundle: a BLIP that captions or judges.
        each: tokens that go in every block; 0 gives the bundle as it is.
    Raises: CheckpointError for another model, ConfigError when its encoder cannot merge.
    """
    if not each:
        return bundle
    if not isinstance(bundle.model, (BLIP, BLIPVQA)):
        raise CheckpointError(f"{bundle.path} is a {bundle.kind}", wanted="a BLIP, whose tokens merge")
    return bundle._replace(model=with_merging(bundle.model, each), digest=f"{bundle.digest}+merge{each}")


def first_pictures(bundle: Bundle, sources: Sequence[Path]) -> list[UInt8[np.ndarray, "y x 3"]]:
    """A few pictures of the model's size to compare on: those that can be read of the first.

    Args:
        bundle: a BLIP.
        sources: picture files, or one table.
    """
    if len(sources) == 1 and sources[0].is_dir():
        table = Table.open(sources[0])
        rows = table.rows(range(min(_PICTURES, table.num_rows)), ["image"])
        return _opened(bundle, [row["image"] or b"" for row in rows])
    return _opened(bundle, sources[:_PICTURES])


def _opened(bundle: Bundle, sources: Sequence[bytes | Path]) -> list[UInt8[np.ndarray, "y x 3"]]:
    found = []
    for one in sources:
        with suppress(PictureError):
            picture = open_picture(one, max_side=2 * bundle.image_spec.size)
            found.append(to_u8(picture.image, bundle.image_spec))
    return found


def agreement(
    bundle: Bundle, quick: Bundle, images: Sequence[UInt8[np.ndarray, "y x 3"]], settings: BulkSettings
) -> Agreement:
    """Caption the same pictures by both, one caption each; where captions are to be drawn, a beam's.

    Args:
        bundle: the whole model.
        quick: from `merging`.
        images: of the model's size; at least one.
        settings: how words are chosen.
    """
    ones, others = ([row[0].text for row in _captions(each, images, settings)] for each in (bundle, quick))
    return _compared(ones, others, _speed(bundle, quick, images))


def _compared(ones: Sequence[str], others: Sequence[str], speed: float) -> Agreement:
    words = [
        SequenceMatcher(None, one.split(), other.split(), autojunk=False).ratio()
        for one, other in zip(ones, others, strict=True)
    ]
    same = sum(one == other for one, other in zip(ones, others, strict=True))
    return Agreement(len(ones), same, sum(words) / len(words), speed)


def _captions(
    bundle: Bundle, images: Sequence[UInt8[np.ndarray, "y x 3"]], settings: BulkSettings
) -> list[list[Caption]]:
    keys = [str(number) for number in range(len(images))]
    how: dict[str, Any] = {"seed": settings.seed, "prompt": settings.prompt, "count": 1}
    return caption_images(bundle, images, keys, _searched(settings.decoding), **how)


def _searched(decoding: Decoding) -> Decoding:
    """Drawn captions part for good at the first word that falls otherwise: they would tell of chance."""
    return decoding.model_copy(update={"method": "beam"}) if decoding.method == "nucleus" else decoding


def _speed(bundle: Bundle, quick: Bundle, images: Sequence[UInt8[np.ndarray, "y x 3"]]) -> float:
    slow, fast = (min(_seconds(each, images) for _ in range(_ROUNDS)) for each in (bundle, quick))
    return slow / fast


@torch.inference_mode()
def _seconds(bundle: Bundle, images: Sequence[UInt8[np.ndarray, "y x 3"]]) -> float:
    begin = time.perf_counter()
    image_tokens(bundle, images)
    return time.perf_counter() - begin


# ---------------------------------------------------------------- a table that is cleaned


def merged(job: Job) -> Job:
    """A job whose captioner and filter merge as many tokens as its settings say.

    Raises: as `merging`.
    """
    each = job.settings.merge
    return job._replace(captioner=merging(job.captioner, each), judge=merging(job.judge, each))


def job_agreement(job: Job, quick: Job) -> tuple[Agreement, Judged] | None:
    """Measure a few rows by both, from all over the table.

    Captions are one a picture, a beam's where they are to be drawn. Speed is that of the captioner's image
    encoder.

    Args:
        job: with the whole models.
        quick: from `merged`.
    Returns: None when none of the rows can be measured.
    """
    total = job.table.num_rows
    sample = range(0, total, max(1, total // _PICTURES))[:_PICTURES]
    ones, others = (
        [row for piece in measure(_searching(each), [sample]) for row in piece.rows] for each in (job, quick)
    )
    pairs = [pair for pair in zip(ones, others, strict=True) if not any(row["picture"] for row in pair)]
    if not pairs:
        return None
    first, second = ([row["synthetic"][0] for row in rows] for rows in zip(*pairs, strict=True))
    images = _opened(job.captioner, [row["image"] or b"" for row in job.table.rows(sample, ["image"])])
    speed = _speed(job.captioner, quick.captioner, images)
    return _compared(first, second, speed), _judged(pairs, job.settings.threshold)


def _searching(job: Job) -> Job:
    searched = {"decoding": _searched(job.settings.decoding), "captions_per_picture": 1, "also": None}
    return job._replace(settings=job.settings.model_copy(update=searched))


def _judged(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]], threshold: float) -> Judged:
    both = [scores for one, other in pairs for scores in zip(one["itm_web"], other["itm_web"], strict=True)]
    asked = [scores for scores in both if scores != (None, None)]
    kept = [[score is not None and score >= threshold for score in scores] for scores in asked]
    apart = [abs(one - other) for one, other in asked if one is not None and other is not None]
    same = sum(one == other for one, other in kept)
    return Judged(len(asked), same, sum(apart) / max(1, len(apart)), threshold)
