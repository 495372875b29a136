"""Captioning as a task: what is measured is what the captions are worth."""

import pytest

from limner.checkpoint import Bundle, load
from limner.data.scene_table import build_scenes_table
from limner.data.scenes import SceneSettings
from limner.errors import ConfigError
from limner.evaluate.caption_metrics import bleu, caption_scores
from limner.evaluate.metrics import cider_d
from limner.suite.captioning import CaptioningSettings, measure
from limner.suite.selection import Selection


@pytest.fixture(scope="module")
def tiny() -> Bundle:
    return load()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    path = tmp_path_factory.mktemp("captioning") / "scenes.lance"
    build_scenes_table(path, SceneSettings(seed=5), start=0, count=10)
    return Selection(path=str(path), count=8)


@pytest.mark.parametrize("method", ["beam", "greedy", "nucleus"])
def test_measures_are_those_of_the_captions(tiny: Bundle, table: Selection, method: str, monkeypatch) -> None:
    monkeypatch.delenv("LIMNER_CAPTION_JARS", raising=False)
    seen = []
    settings = CaptioningSettings(
        method=method, prompt="", batch_size=3, training_where="key <> ''", clip="limner_tiny"
    )
    found = measure(tiny, table, settings, lambda done, total: seen.append((done, total)))
    said = [s["caption"] for s in found.samples]
    true = [s["references"] for s in found.samples]
    assert seen == [(3, 8), (6, 8), (8, 8)]
    assert next(iter(found.measures)) == "cider_d"
    assert found.measures["cider_d"].value == pytest.approx(cider_d(said, true).mean)
    assert [s["score"] for s in found.samples] == pytest.approx(cider_d(said, true).each.tolist())
    assert found.measures["bleu_4"].value == pytest.approx(bleu(caption_scores(said, true).bleu_counts)[3])
    known = {text for texts in true for text in texts}
    unseen = found.measures["unseen"].value
    assert unseen <= sum(text not in known for text in said) / 8
    for name in ("cider_d", "bleu_1", "bleu_4", "rouge_l", "itm", "clip_score", "ref_clip_score"):
        number = found.measures[name]
        assert number.low <= number.value <= number.high or name.startswith("bleu")
    assert any(note.startswith("METEOR left out: no") for note in found.notes)


def test_lengths_count_the_prompt_as_the_released_code_does(tiny: Bundle) -> None:
    decoding = CaptioningSettings().decoding(tiny.tokenizer)
    taken = len(tiny.tokenizer.encode("a picture of ")) - 1
    assert (decoding.max_tokens, decoding.min_tokens) == (20 - taken, max(0, 5 - taken))
    assert decoding.num_beams == 3
    assert CaptioningSettings(method="nucleus").decoding(tiny.tokenizer).repetition_penalty == 1.1
    with pytest.raises(ConfigError, match="a prompt of"):
        CaptioningSettings(max_length=3).decoding(tiny.tokenizer)
