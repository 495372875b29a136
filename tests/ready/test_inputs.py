"""One or many, in any form; what is no picture and no text is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.errors import DataError, PictureError
from limner.ready.inputs import batches, keyed_pixels, pairs_of, pictures_of, texts_of
from limner.shapes import ImageSpec

PIXELS = np.zeros((9, 8, 3), np.uint8)


@pytest.mark.parametrize("one", ["a.png", Path("a.png"), b"bytes", Image.fromarray(PIXELS), PIXELS])
def test_one_picture(one: object) -> None:
    found, single = pictures_of(one)
    assert single
    assert found[0] is one
    assert pictures_of([one, one]) == ([one, one], False) or isinstance(one, np.ndarray)


def test_a_stack_of_arrays_is_many() -> None:
    found, single = pictures_of(np.stack([PIXELS] * 3))
    assert (len(found), single, found[0].shape) == (3, False, PIXELS.shape)
    assert pictures_of(()) == ([], False)


@pytest.mark.parametrize("wrong", [None, 3, torch.zeros(3, 8, 8), (name for name in "ab"), {"a"}])
def test_what_is_no_picture(wrong: object) -> None:
    with pytest.raises(DataError, match="for pictures"):
        pictures_of(wrong)
    with pytest.raises(DataError, match="picture 1 is a"):
        pictures_of(["a.png", wrong])


def test_texts() -> None:
    assert texts_of("a cat") == (["a cat"], True)
    assert texts_of(("a", "b")) == (["a", "b"], False)
    with pytest.raises(DataError, match="a NoneType for labels"):
        texts_of(None, "label")
    with pytest.raises(DataError, match="text 1 is a int"):
        texts_of(["a", 1])


def test_pixels_of_the_models_size_and_their_keys() -> None:
    keys, u8 = keyed_pixels([PIXELS, PIXELS, PIXELS + 1], ImageSpec(size=16))
    assert (u8.shape, u8.dtype) == ((3, 3, 16, 16), torch.uint8)
    assert keys[0] == keys[1] != keys[2]


def test_a_refused_picture_keeps_its_reason() -> None:
    with pytest.raises(PictureError, match="picture 11: nothing in it") as caught:
        keyed_pixels([PIXELS, b""], ImageSpec(size=16), first=10)
    assert caught.value.reason == "empty"


def test_batches() -> None:
    assert list(batches("abcde", 2)) == [(0, "ab"), (2, "cd"), (4, "e")]
    assert list(batches([], 2)) == []


def test_pairs() -> None:
    assert pairs_of(1, 3, True, False) == [(0, 0), (0, 1), (0, 2)]
    assert pairs_of(3, 1, False, True) == [(0, 0), (1, 0), (2, 0)]
    assert pairs_of(2, 2, False, False) == [(0, 0), (1, 1)]
    assert pairs_of(1, 1, True, True) == [(0, 0)]
    with pytest.raises(DataError, match="1 pictures and 2 texts"):
        pairs_of(1, 2, False, False)
