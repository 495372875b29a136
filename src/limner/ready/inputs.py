"""What users hand in: one picture or many, one text or many, in any of the forms pictures come in."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from limner.data.intake import Source, open_picture
from limner.data.transforms import to_u8
from limner.errors import DataError, PictureError
from limner.shapes import ImageSpec

T = TypeVar("T")

_FORMS = "a path, bytes, a Pillow image, an array, or a list of them"


def pictures_of(images: Any) -> tuple[list[Source], bool]:
    """Pictures as a list, and whether it was one picture.

    Args:
        images: one, or a sequence of them; an array (n, y, x, 3) is n of them.
    Raises: DataError when something is no picture.
    """
    if isinstance(images, np.ndarray) and images.ndim == 4:
        return list(images), False
    if isinstance(images, (str, Path, bytes, Image.Image, np.ndarray)):
        return [images], True
    if not isinstance(images, (list, tuple)):
        raise DataError(
            f"a {type(images).__name__} for pictures", wanted=_FORMS, hint="list(...) of a generator"
        )
    for place, image in enumerate(images):
        if not isinstance(image, (str, Path, bytes, Image.Image, np.ndarray)):
            raise DataError(f"picture {place} is a {type(image).__name__}", wanted=_FORMS)
    return list(images), False


def texts_of(texts: Any, what: str = "text") -> tuple[list[str], bool]:
    """Texts as a list, and whether it was one text.

    Args:
        texts: one, or a sequence of them.
        what: what they are called in a message.
    Raises: DataError when something is no text.
    """
    if isinstance(texts, str):
        return [texts], True
    if not isinstance(texts, (list, tuple)):
        raise DataError(f"a {type(texts).__name__} for {what}s", wanted="a string, or a list of strings")
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{what} {place} is a {type(text).__name__}", wanted="a string")
    return list(texts), False


def keyed_pixels(
    images: Sequence[Source], spec: ImageSpec, first: int = 0
) -> tuple[list[str], UInt8[Tensor, "b 3 y x"]]:
    """Open one batch of pictures.

    Args:
        images: one or more.
        spec: what the model reads.
        first: number of the first one, for the message.
    Returns: the SHA-256 of each, and u8 pixels of the model's size.
    Raises: PictureError that says which picture was refused, and why.
    """
    keys, arrays = [], []
    for place, source in enumerate(images, first):
        try:
            picture = open_picture(source)
        except PictureError as error:
            given = f"picture {place}: {error.given}"
            raise PictureError(given, reason=error.reason, wanted=error.wanted, hint=error.hint) from error
        keys.append(picture.sha256)
        arrays.append(to_u8(picture.image, spec))
    return keys, torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def batches(items: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    """Yield where each batch begins, and the batch."""
    for start in range(0, len(items), size):
        yield start, items[start : start + size]


def pairs_of(pictures: int, texts: int, one_picture: bool, one_text: bool) -> list[tuple[int, int]]:
    """Which picture goes with which text: row by row, or the one with all of the others.

    Args:
        pictures: how many.
        texts: how many.
        one_picture: a picture was given, no list.
        one_text: likewise.
    Raises: DataError when two lists have different lengths.
    """
    if one_picture:
        return [(0, text) for text in range(texts)]
    if one_text:
        return [(picture, 0) for picture in range(pictures)]
    if pictures != texts:
        raise DataError(
            f"{pictures} pictures and {texts} texts",
            wanted="one text for each picture",
            hint="give one picture with a list of texts, or one text with a list of pictures",
        )
    return [(place, place) for place in range(pictures)]
