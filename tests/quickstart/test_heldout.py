import numpy as np
import pytest
import torch

from limner.checkpoint import load
from limner.data.scene_language import Scenery, Thing, is_exact
from limner.evaluate.pictures import look
from limner.quickstart import heldout
from limner.quickstart.heldout import HeldOut


def thing(concept: str, left: int = 0) -> Thing:
    return Thing(concept, "", (left, 0, left + 10, 10))


@pytest.fixture
def data() -> HeldOut:
    """Four pictures, two of them alike, at the tiny model's size."""
    truths = [
        Scenery((thing("cat"),), "blue"),
        Scenery((thing("owl"), thing("fish", 30)), "red"),
        Scenery((thing("cat"),), "white"),
        Scenery((thing("bus"),), "green"),
    ]
    texts = ["a cat", "an owl and a fish", "a cat on a white background", "a bus"]
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in truths]
    return HeldOut(images, texts, [[text] for text in texts], truths)


def test_a_text_that_is_true_of_another_picture_counts_for_it_too(data):
    assert is_exact(data.texts[0], data.truths[2])
    assert not is_exact(data.texts[2], data.truths[0])
    cosine = np.array([[0.1, 0, 0.9, 0], [0, 1, 0, 0], [0.9, 0, 0.8, 0], [0.5, 0, 0.6, 0.4]])
    image_to_text, text_to_image = heldout.first_hits(cosine, data)
    assert image_to_text.tolist() == [0, 1, 1, 0]
    assert text_to_image.tolist() == [1, 1, 0, 1]


def test_retrieval_stays_within_its_block(data, monkeypatch):
    monkeypatch.setattr(heldout, "POOL", 2)
    cosine = np.zeros((4, 4))
    cosine[[0, 1, 2, 3], [0, 1, 2, 3]] = 0.5
    cosine[0, 3] = 1.0
    image_to_text, text_to_image = heldout.first_hits(cosine, data)
    assert image_to_text.tolist() == text_to_image.tolist() == [1, 1, 1, 1]


@torch.inference_mode()
def test_loss_is_the_mean_over_the_tokens_of_each_text(model_folder, data):
    bundle = load(model_folder)
    found = heldout.text_losses(bundle, look(bundle, data.images), data.texts)
    for row, text in enumerate(data.texts):
        seen = look(bundle, [data.images[row]])
        ids, mask = bundle.tokenizer.encode_batch([text])
        logits = bundle.model.decode(seen.decoder, ids, mask)[0].log_softmax(-1)
        nats = [-logits[t, ids[0, t + 1]].item() for t in range(ids.shape[1] - 1)]
        assert found[row].item() == pytest.approx(np.mean(nats), rel=1e-4)


def test_every_picture_has_every_measure(model_folder, data):
    bundle = load(model_folder)
    counted = []
    found = heldout.measure(bundle, data, lambda done, total: counted.append((done, total)))
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(
        ("i2t_r1", "t2i_r1", "cider_d", "loss"), 4
    )
    assert counted == [(4, 4)]
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("low", "high", "lower_is_better", "words"),
    [
        (-0.1, 0.1, False, "within noise"),
        (0.0, 0.1, False, "within noise"),
        (0.01, 0.1, False, "cleaned is better"),
        (-0.2, -0.1, False, "raw is better"),
        (-0.2, -0.1, True, "cleaned is better"),
        (0.1, 0.2, True, "raw is better"),
    ],
)
def test_a_difference_is_claimed_only_when_its_interval_allows(low, high, lower_is_better, words):
    assert heldout.say_difference(low, high, lower_is_better=lower_is_better) == words


def test_differences_are_taken_picture_by_picture():
    rng = np.random.default_rng(0)
    raw = rng.normal(2, 1, 300)
    found = heldout.compare({"cider_d": raw + 0.1, "loss": raw}, {"cider_d": raw, "loss": raw}, seed=0)
    cider, loss = found
    assert cider["gain"] == pytest.approx(0.1)
    assert cider["low"] == pytest.approx(0.1)
    assert cider["verdict"] == "cleaned is better"
    assert (loss["gain"], loss["verdict"]) == (0.0, "within noise")


def test_an_interval_holds_its_value():
    found = heldout.with_interval(np.array([0.0, 1.0] * 50), seed=0)
    assert found["low"] < found["value"] == 0.5 < found["high"]
