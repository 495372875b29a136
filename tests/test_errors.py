import pytest

from limner import errors
from limner.errors import DataError, LimnerError, PictureError


def test_a_message_says_what_was_given_wanted_and_what_to_type():
    error = DataError("no table at x", wanted="a Lance table", hint="limner import PHOTOS --out x")
    assert str(error).splitlines() == [
        "no table at x",
        "  wanted: a Lance table",
        "  try:    limner import PHOTOS --out x",
    ]
    assert (error.given, error.wanted, error.hint) == (
        "no table at x",
        "a Lance table",
        "limner import PHOTOS --out x",
    )


def test_parts_that_are_not_known_are_left_out():
    assert str(LimnerError("cut short")) == "cut short"


def test_a_refused_picture_carries_its_reason():
    error = PictureError("x.png is empty", reason="empty")
    assert error.reason == "empty"
    assert isinstance(error, DataError)


@pytest.mark.parametrize(
    "name", ["ConfigError", "DataError", "ShapeError", "CheckpointError", "TrainingError"]
)
def test_the_tree_has_one_root_and_its_drawing_is_true(name: str):
    assert issubclass(getattr(errors, name), LimnerError)
    assert name in (errors.__doc__ or "")
