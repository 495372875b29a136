import pytest
from pydantic import ValidationError

from limner.config import to_toml
from limner.train.settings import MachineSettings, TrainSettings


def test_patience_needs_the_measure_to_go_by():
    with pytest.raises(ValidationError, match=r"needs train\.best"):
        TrainSettings(steps=1, patience=2)
    assert TrainSettings(steps=1, patience=2, best="val/top1").patience == 2


def test_what_was_not_said_is_not_written():
    assert set(to_toml(TrainSettings(steps=1)).split()) & {"micro_batch", "best", "patience"} == set()
    assert "shard" not in to_toml(MachineSettings())
    assert "shard = true" in to_toml(MachineSettings(shard=True))
