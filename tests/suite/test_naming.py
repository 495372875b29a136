"""What is named, and by what."""

import numpy as np
import pytest

from limner.errors import ConfigError, DataError
from limner.suite.naming import column_of, labelled_rows, names_for, seen
from limner.suite.selection import Selection


def test_a_classifier_chooses_from_its_own_and_a_clip_from_the_rows(made, colours):
    assert names_for(made("classifier"), ["x"]) == ("blue", "red")
    assert names_for(made("clip"), ["b", "a", "b"]) == ("a", "b")


def test_both_name_every_picture(made, colours):
    selection = Selection(path=colours)
    for name in ("classifier", "clip"):
        bundle = made(name)
        rows = labelled_rows(bundle, selection)
        sight = seen(bundle, rows.images, ("blue", "red"), batch_size=16)
        assert sight.named.shape == (40,)
        assert len(sight.vectors) == 40
    exact = seen(made("classifier"), rows.images, ("blue", "red")).named
    assert np.array_equal(exact, [label == "red" for label in rows.labels])


def test_a_classifier_cannot_take_other_names(made, colours):
    with pytest.raises(ConfigError, match="classes are fixed"):
        seen(made("classifier"), [np.zeros((16, 16, 3), np.uint8)], ("cat", "dog"))


def test_columns_are_read_by_key(colours):
    assert column_of(Selection(path=colours), "domain", ["39", "0"]) == ["dim", "bright"]
    with pytest.raises(DataError, match="no column 'mood'"):
        column_of(Selection(path=colours), "mood", ["0"])
