"""Strict reading of single fields: what is accepted, and that a refusal names the field and the file."""

from typing import Any

import pytest

from limner.convert import fields
from limner.errors import CheckpointError


def test_absent_and_null_are_the_default() -> None:
    for config in ({}, {"x": None}):
        assert fields.number(config, "x", 2.5, "a.json") == 2.5
        assert fields.numbers(config, "x", (1.0, 2.0, 3.0), "a.json") == (1.0, 2.0, 3.0)
        assert fields.one_of(config, "x", "b", ("a", "b"), "a.json") == "b"
        assert fields.table(config, "x", "a.json") == {}


def test_one_number_stands_for_all() -> None:
    assert fields.numbers({"x": 0.5}, "x", (), "a.json") == (0.5, 0.5, 0.5)


def test_a_side_may_be_a_list_of_equal_numbers() -> None:
    assert fields.side(8, "x", "a.json") == fields.side([8, 8], "x", "a.json") == 8


def test_what_a_picture_is_resized_to() -> None:
    square, short = {"height": 8, "width": 8}, {"shortest_edge": 8}
    for value, meant in ((8, square), ([8, 8], square), (square, square), (short, short)):
        assert fields.square_or_short(value, True, "a.json") == meant
    assert fields.square_or_short(8, False, "a.json") == short
    for value in ([8, 9], {"height": 8, "width": 9}, {"shortest_edge": 8, "longest_edge": 9}, "8", {}):
        with pytest.raises(CheckpointError, match=r"a\.json: size is"):
            fields.square_or_short(value, True, "a.json")


def test_filters_by_number_and_by_name() -> None:
    assert [fields.resampling(code, "x", "a.json") for code in range(4)] == list(fields.RESAMPLE.values())
    assert fields.resampling("bicubic", "x", "a.json") == "bicubic"


@pytest.mark.parametrize("value", [True, "3", [1], {}, float("nan"), float("inf")])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"a\.json: x is"):
        fields.number({"x": value}, "x", 0.0, "a.json")


@pytest.mark.parametrize("value", ["bicubic", [1, 2], [1, 2, "c"], {"a": 1}])
def test_what_are_no_three_numbers_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"a\.json: x is"):
        fields.numbers({"x": value}, "x", (), "a.json")


@pytest.mark.parametrize("value", [0, -3, True, 2.5, "8", [], [8, 9], [[8], [8]]])
def test_what_is_no_side_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"a\.json: x is"):
        fields.side(value, "x", "a.json")


@pytest.mark.parametrize("value", [4, 5, 9, "box", "area", [3]])
def test_other_filters_are_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match="x: nearest, lanczos, bilinear, bicubic"):
        fields.resampling(value, "x", "a.json")


def test_other_words_and_other_kinds_are_refused() -> None:
    with pytest.raises(CheckpointError, match="x: a, b"):
        fields.one_of({"x": ["a"]}, "x", "a", ("a", "b"), "a.json")
    with pytest.raises(CheckpointError, match="a table of named values"):
        fields.table({"x": 3}, "x", "a.json")


def test_an_impossible_spec_is_an_error_of_the_file() -> None:
    with pytest.raises(CheckpointError, match=r"a\.json: size: .*8"):
        fields.image_spec({"size": 2}, "a.json")
    with pytest.raises(CheckpointError, match="resize_px"):
        fields.image_spec({"size": 64, "resize_px": 32}, "a.json")
