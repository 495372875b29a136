from random import Random

import numpy as np
import pytest
import torch

import limner.evaluate.scenes as module
from limner.checkpoint import Bundle
from limner.data.concepts import CONCEPTS
from limner.data.scene_language import Scenery, Thing, captions, is_exact, questions
from limner.data.scenes import Scene, SceneSettings
from limner.errors import DataError
from limner.evaluate.pictures import Look
from limner.evaluate.scenes import SuiteSettings, distinct, scenes_suite, swap

SUITE = SuiteSettings(candidates=8, draws=2, batch_size=16)
SETTINGS = SceneSettings(seed=1)
COUNT = 64


def _scene(settings: SceneSettings, index: int) -> Scene:
    """A scene that is planned but not drawn; its first two pixels tell its number."""
    rng = Random(f"{settings.seed} {index}")
    concepts = rng.sample(CONCEPTS[:12], rng.randint(1, 2))
    things = tuple(
        Thing(c.name, rng.choice(c.colours) if c.colours else "", (40 * place, 0, 40 * place + 30, 30))
        for place, c in enumerate(concepts)
    )
    truth = Scenery(things, rng.choice(["red", "blue"]))
    image = np.zeros((16, 16, 3), np.uint8)
    image[0, 0, 0] = index
    return Scene(
        f"scene-{index}", image, truth, settings.styles[0], captions(truth, rng), questions(truth, rng)
    )


@pytest.fixture(autouse=True)
def _planned_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "scene", _scene)


def _scenes(count: int = COUNT) -> tuple[list[Scene], list[str]]:
    scenes = [_scene(SETTINGS, index) for index in range(count)]
    return scenes, [scene.captions[0] for scene in scenes]


def test_swapped_captions_are_as_many_as_asked_and_all_wrong() -> None:
    scenes, own = _scenes()
    source, right = swap(scenes, own, 0.3, np.random.default_rng(0))
    assert (~right).sum() == round(0.3 * COUNT)
    assert right.tolist() == [is_exact(own[j], scene.truth) for j, scene in zip(source, scenes, strict=True)]


def test_candidates_cannot_be_confused() -> None:
    scenes, own = _scenes()
    chosen = distinct(scenes, own, range(COUNT), 20)
    assert len(chosen) == 20
    confused = [(i, j) for i in chosen for j in chosen if i != j and is_exact(own[i], scenes[j].truth)]
    assert not confused
    # The scenes do hold confusable ones, or this test would show nothing.
    assert chosen != list(range(20))


def test_too_few_distinct_scenes_are_an_error(bundle: Bundle) -> None:
    with pytest.raises(DataError, match=r"4 scenes of a style hold \d that cannot be confused"):
        scenes_suite(bundle, SETTINGS, 0, 8, SUITE)


def test_a_random_model_is_measured_near_chance_and_the_same_twice(bundle: Bundle) -> None:
    calls: list[tuple[int, int]] = []
    suite = SUITE.model_copy(update={"top_k": 3})
    measured = scenes_suite(
        bundle, SETTINGS, 0, COUNT, suite, lambda done, total: calls.append((done, total))
    )
    assert measured == scenes_suite(bundle, SETTINGS, 0, COUNT, suite)
    assert calls[-1] == (COUNT, COUNT)
    assert 0.2 < measured["auroc"] < 0.8
    assert 0.0 <= measured["i2t_r1"] < 0.6
    assert 0.0 <= measured["t2i_r1_reranked"] < 0.6
    assert measured["exact"] == measured["nouns"] == 0.0
    styles = [measured[f"{style}/auroc"] for style in SETTINGS.styles]
    assert measured["auroc"] == pytest.approx(np.mean(styles))


def test_a_model_that_knows_the_truth_scores_one_everywhere(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes, _ = _scenes()

    def numbers(seen: Look) -> list[int]:
        return [int(n) for n in seen.embed[:, 0]]

    def look_at(_bundle, images, batch_size, progress):
        for start in range(0, len(images), batch_size):
            batch = range(start, min(start + batch_size, len(images)))
            yield batch, Look(torch.tensor([[float(images[i][0, 0, 0])] for i in batch]), None, None)

    def matched(_bundle, seen, texts, rows):
        found = numbers(seen)
        right = [is_exact(text, scenes[found[row]].truth) for text, row in zip(texts, rows, strict=True)]
        return np.array([[0.0, float(r)] for r in right])

    def answered(_bundle, seen, asked, rows):
        found = numbers(seen)
        return [dict(scenes[found[row]].questions)[q] for q, row in zip(asked, rows, strict=True)]

    monkeypatch.setattr(module, "looks", look_at)
    monkeypatch.setattr(module, "match_looked", matched)
    monkeypatch.setattr(module, "answer_looked", answered)
    monkeypatch.setattr(
        module, "caption_looked", lambda _b, seen, _d, _s: [scenes[n].captions[-1] for n in numbers(seen)]
    )
    monkeypatch.setattr(module, "embed_texts", lambda _b, texts: np.ones((len(texts), 1), np.float32))
    measured = scenes_suite(bundle, SETTINGS.model_copy(update={"styles": ("twemoji",)}), 0, COUNT, SUITE)
    for name in ("auroc", "nouns", "exact", "answers", "answers_yes_no", "twemoji/exact"):
        assert measured[name] == 1.0, name
    assert measured["cider_d"] > 3
