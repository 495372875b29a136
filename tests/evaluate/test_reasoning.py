"""Statements judged, accuracy and consistency, against loops."""

import pytest
import torch

from limner.data.scene_table import build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.statement_rows import StatementRows
from limner.data.transforms import normalise
from limner.errors import CheckpointError
from limner.evaluate.reasoning import Verdict, consistency, reasoning_quality, verdicts
from limner.models.blip_nlvr2 import nlvr2_from


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes") / "s.lance"
    build_scenes_table(path, SceneSettings(seed=6, canvas_px=48), 0, 3)
    return path


@torch.no_grad()
def test_verdicts_are_the_models_own(bundle, path):
    judge = bundle._replace(model=nlvr2_from(bundle.model).eval())
    rows = StatementRows(path, bundle.image_spec, 0)
    found = verdicts(judge, rows, batch_size=4)
    for one, sample in zip(found, rows.samples(range(6), 0), strict=True):
        left, right = (
            normalise(torch.tensor(pixels).permute(2, 0, 1)[None], bundle.image_spec)
            for pixels in (sample.image, sample.other)
        )
        ids = torch.tensor([bundle.tokenizer.encode(sample.question, 48)])
        expected = judge.model(left, right, ids).logits.softmax(1)[0, 1].item()
        assert one.probability == pytest.approx(expected, abs=1e-5)
        assert one.truth == (sample.answer == "true")
    assert [v.key for v in verdicts(judge, rows, count=2)] == [v.key for v in found[:2]]
    assert [v.probability for v in verdicts(judge, rows)] == pytest.approx([v.probability for v in found])


def test_a_model_that_judges_nothing_is_refused(bundle, path):
    with pytest.raises(CheckpointError, match="does not judge statements"):
        verdicts(bundle, StatementRows(path, bundle.image_spec, 0))


def test_accuracy_and_consistency():
    found = [
        Verdict("a", "two dogs", True, 0.9),
        Verdict("b", "two dogs", False, 0.6),
        Verdict("c", "a cat", False, 0.5),
        Verdict("d", "one bird", True, 0.2),
        Verdict("e", "a cat", True, 0.8),
    ]
    right = [one.right for one in found]
    assert right == [True, False, True, False, True]
    sentences = {one.text for one in found}
    slow = sum(all(r for one, r in zip(found, right, strict=True) if one.text == s) for s in sentences) / 3
    assert consistency([one.text for one in found], right) == slow == pytest.approx(1 / 3)
    assert reasoning_quality(found) == {"accuracy": 0.6, "consistency": slow, "said_true": 0.6}
