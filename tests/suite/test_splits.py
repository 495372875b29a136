"""No row is both fitted and measured; what is drawn is drawn class by class."""

from pathlib import Path

import numpy as np
import pytest

from limner.errors import DataError
from limner.suite.selection import Selection
from limner.suite.splits import SplitSettings, carve, parts


def test_the_test_split_is_measured_and_the_train_split_fitted(table: Path) -> None:
    found = parts(Selection(path=str(table)), SplitSettings())
    assert (len(found.train.keys), len(found.test.keys)) == (24, 12)
    assert found.classes == ["blue", "green", "red"]
    assert found.truth(found.test).tolist() == [found.classes.index(label) for label in found.test.labels]
    few = parts(Selection(path=str(table)), SplitSettings(train_count=10, seed=3))
    assert len(few.train.keys) == 10
    assert set(few.train.keys) < set(found.train.keys)


def test_a_row_in_both_is_refused_and_an_unseen_class_told(table: Path) -> None:
    with pytest.raises(DataError, match="24 rows are both"):
        parts(Selection(path=str(table), where="label <> ''"), SplitSettings())
    found = parts(Selection(path=str(table)), SplitSettings(train="split = 'train' and label <> 'red'"))
    assert found.notes == ["1 classes have no row to fit on: red"]


def test_validation_is_carved_class_by_class() -> None:
    truth = np.array([0] * 10 + [1] * 5 + [2])
    train, val = carve(truth, 0.2, 0)
    assert sorted([*train, *val]) == list(range(16))
    assert np.bincount(truth[val], minlength=3).tolist() == [2, 1, 0]
    np.testing.assert_array_equal(val, carve(truth, 0.2, 0)[1])
