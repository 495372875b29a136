"""The generated faults are what they say, and the intake says the same of each."""

import hashlib
import runpy
from pathlib import Path
from typing import Any

import pytest

from limner.data.intake import REASONS, open_picture
from limner.errors import PictureError

FAULTS: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("faults.py")))
KINDS, make = FAULTS["KINDS"], FAULTS["make"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_intake_finds_the_truth_of_every_kind(kind: str) -> None:
    for seed in range(3):
        check(make(kind, seed))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_intake_finds_the_truth_of_many(kind: str) -> None:
    for seed in range(100, 250):
        check(make(kind, seed))


def check(fault: Any) -> None:
    if fault.reason is not None:
        with pytest.raises(PictureError) as caught:
            open_picture(fault.data)
        assert caught.value.reason == fault.reason, fault.name
        return
    picture = open_picture(fault.data)
    found = picture.width, picture.height, picture.format
    assert found == (fault.width, fault.height, fault.format), fault.name
    assert picture.image.size == (fault.width, fault.height)
    seen = picture.image.getpixel((fault.width // 16, fault.height // 16))
    worst = max(abs(a - b) for a, b in zip(seen, fault.colour, strict=True))
    assert worst <= fault.tolerance, f"{fault.name}: {seen} for {fault.colour}"


def test_a_fault_is_a_function_of_kind_and_seed() -> None:
    for kind in ("jpeg", "cut_png", "png_bomb"):
        assert make(kind, 7) == make(kind, 7)
        assert make(kind, 7).data != make(kind, 8).data


def test_names_are_unique_and_every_reason_of_a_file_occurs() -> None:
    made = [make(kind, seed) for kind in KINDS for seed in (0, 1)]
    assert len({fault.name for fault in made}) == len(made)
    assert {fault.reason for fault in made} == {*REASONS, None} - {"missing", "too_large"}


def test_good_pictures_differ_by_seed() -> None:
    for kind in FAULTS["GOOD"]:
        digests = {hashlib.sha256(make(kind, seed).data).digest() for seed in range(5)}
        assert len(digests) == 5, kind
