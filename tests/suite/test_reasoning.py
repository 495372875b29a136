"""The task `reasoning`: measures and samples against the verdicts themselves."""

import pytest

from limner.checkpoint import load
from limner.data.scene_table import build_scenes_table
from limner.data.scenes import SceneSettings
from limner.errors import CheckpointError
from limner.models.blip_nlvr2 import nlvr2_from
from limner.suite.reasoning import ReasoningSettings, measure
from limner.suite.selection import Selection


def test_statements_are_judged_one_sample_each(tmp_path):
    table = build_scenes_table(tmp_path / "s.lance", SceneSettings(seed=8, canvas_px=48), 0, 3)
    selection, plain = Selection(path=str(tmp_path / "s.lance")), load("limner_tiny")
    with pytest.raises(CheckpointError, match="does not judge statements"):
        measure(plain, selection, ReasoningSettings(), None)
    outcome = measure(plain._replace(model=nlvr2_from(plain.model)), selection, ReasoningSettings(), None)
    truths = [one["truth"] for row in table.column("statements") for one in row]
    assert [sample["truth"] for sample in outcome.samples] == truths
    right = [(s["probability"] > 0.5) == s["truth"] for s in outcome.samples]
    assert [s["score"] for s in outcome.samples] == right
    assert outcome.measures["accuracy"].value == pytest.approx(sum(right) / 6)
    share = sum(truths) / 6
    assert outcome.measures["majority_class"].value == max(share, 1 - share)
    assert outcome.details["statements"] == 6
    assert "majority_class" in outcome.notes[0]
