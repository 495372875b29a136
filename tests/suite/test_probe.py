"""A probe of colours is right, and equals the protocol by hand."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from limner.errors import DataError
from limner.suite.features import features
from limner.suite.probe import ProbeSettings, measure
from limner.suite.rows import rows_of
from limner.suite.selection import Selection


def test_the_final_fit_is_on_all_training_rows(table: Path, resnet) -> None:
    found = measure(resnet(), Selection(path=str(table)), ProbeSettings(), None)
    train, test = (rows_of(Selection(path=str(table), where=f"split = '{s}'")) for s in ("train", "test"))
    c = found.details["c"]
    peer = LogisticRegression(C=c, max_iter=1000).fit(features(resnet(), train, "probe"), train.labels)
    right = peer.predict(features(resnet(), test, "probe")) == np.array(test.labels)
    assert [sample["score"] for sample in found.samples] == right.astype(float).tolist()
    assert found.values()["top1"] == 1.0
    assert found.details["rows"] == {"fit": 18, "chosen on": 6, "measured": 12}


def test_validation_rows_of_ones_own(table: Path, resnet) -> None:
    settings = ProbeSettings(train="split = 'train' and key < '12'", val="split = 'train' and key >= '12'")
    found = measure(resnet(), Selection(path=str(table)), settings, None)
    assert found.details["rows"] == {"fit": 12, "chosen on": 12, "measured": 12}


def test_one_class_is_refused(table: Path, resnet) -> None:
    with pytest.raises(DataError, match="one class"):
        measure(
            resnet(),
            Selection(path=str(table)),
            ProbeSettings(train="split = 'train' and label = 'red'"),
            None,
        )
