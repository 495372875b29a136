"""Ranks of candidates against loops: one candidate at a time, NDCG from its definition."""

import math

import numpy as np
import pytest
import torch

from limner.checkpoint import Bundle
from limner.data.dialogues import Dialogue, Round
from limner.errors import ConfigError, DataError
from limner.evaluate.dialog import (
    DialogRanks,
    DialogSettings,
    dialog_quality,
    dialog_ranks,
    dialog_scores,
    ndcg,
)
from limner.evaluate.pictures import normed
from limner.models.bert import CrossMemory

DIALOGUES = [
    Dialogue(
        "1",
        "an owl",
        (
            Round("is there a bus?", "no", ("no", "a cat", "two red hearts"), 0, (1.0, 0.0, 0.5)),
            Round("how many owls are there", "three", ("an owl", "three"), 1),
        ),
    ),
    Dialogue(
        "2",
        "there are three fish",
        (Round("what colour?", "red"), Round("is there?", "a tree", ("a tree", ""), 0)),
    ),
]


def _texts(settings: DialogSettings) -> list[list[tuple[str, list[str]]]]:
    """What is said before the candidates, by hand."""
    head = {"states": "", "none": "", "text": "an owl "}
    other = {"states": "", "none": "", "text": "there are three fish "}
    if settings.way != "itm" and settings.caption == "states":
        head["states"], other["states"] = head["text"], other["text"]
    past = ["is there a bus? no ", "what colour? red "] if settings.history else ["", ""]
    return [
        [
            (f"{head[settings.caption]}is there a bus?", list(DIALOGUES[0].rounds[0].options)),
            (f"{head[settings.caption]}{past[0]}how many owls are there?", ["an owl", "three"]),
        ],
        [(f"{other[settings.caption]}{past[1]}is there?", ["a tree", ""])],
    ]


@torch.inference_mode()
def _slow(
    bundle: Bundle, image: np.ndarray, caption: str, said: str, option: str, settings: DialogSettings
) -> float:
    model, tokenizer = bundle.model, bundle.tokenizer
    tokens = model.encode_image(normed([image], bundle.image_spec, torch.device("cpu")))
    ids = [*tokenizer.encode(said, 100)[:-1], *tokenizer.encode(option, 100)[1:]]
    if settings.way == "itm":
        if settings.caption == "states":
            words = torch.tensor([tokenizer.encode(caption, 100)])
            tokens = torch.cat([tokens, model.text_encoder(words)], 1)
        logits = model.match(CrossMemory(model.encoder_memory(tokens).layers), torch.tensor([ids]))[0]
        return float(logits[1] - logits[0])
    before = len(tokenizer.encode(said, 100)) - 1
    told = model.decode(model.decoder_memory(tokens), torch.tensor([ids]))[0].log_softmax(-1)
    terms = [float(told[i - 1, ids[i]]) for i in range(before, len(ids))]
    return sum(terms) / (len(terms) if settings.way == "lm_mean" else 1)


@pytest.mark.parametrize("way", ["itm", "lm", "lm_mean"])
@pytest.mark.parametrize("caption", ["states", "text", "none"])
@pytest.mark.parametrize("history", [-1, 0])
def test_scores_equal_reading_one_candidate_at_a_time(bundle: Bundle, images, way, caption, history) -> None:
    settings = DialogSettings(way=way, caption=caption, history=history, batch_size=1)
    found = dialog_scores(bundle, images[:2], DIALOGUES, settings)
    for number, asked in enumerate(_texts(settings)):
        assert len(found[number]) == len(asked)
        for scores, (said, options) in zip(found[number], asked, strict=True):
            wanted = [
                _slow(bundle, images[number], DIALOGUES[number].caption, said, option, settings)
                for option in options
            ]
            np.testing.assert_allclose(scores, wanted, atol=2e-4)


def test_a_long_history_loses_its_oldest_words(bundle: Bundle, images) -> None:
    turn = Round("is there a bus?", "no", ("no", "an owl"), 0)
    long = Dialogue("1", "", (*(Round("is there a cat?", "an apple") for _ in range(9)), turn))
    other = long._replace(rounds=(Round("two red hearts?", "fish"), *long.rounds[1:]))
    settings = DialogSettings(caption="none", max_tokens=16)
    one, two = (dialog_scores(bundle, images[:1], [d], settings)[0][0] for d in (long, other))
    np.testing.assert_array_equal(one, two)
    assert len(set(one.tolist())) == 2


def test_ranks_and_ties() -> None:
    ranks = dialog_ranks(
        DIALOGUES, [[np.array([0.5, 0.7, 0.1]), np.array([0.2, 0.3])], [np.array([1.0, 1.0])]]
    )
    assert ranks.rank.tolist() == [2, 1, 2]  # among equal scores the later comes first
    assert math.isnan(ranks.ndcg[1])
    found = dialog_quality(ranks)
    assert found["mrr"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert (found["r1"], found["r5"], found["mean_rank"]) == (pytest.approx(1 / 3), 1.0, pytest.approx(5 / 3))


def test_without_judgements_there_is_no_ndcg() -> None:
    assert "ndcg" not in dialog_quality(DialogRanks(np.array([1.0]), np.array([np.nan])))
    with pytest.raises(DataError, match="no round has candidates"):
        dialog_ranks([Dialogue("1", "", ())], [[]])


def _slow_ndcg(scores: list[float], relevance: list[float]) -> float:
    k = sum(r > 0 for r in relevance)
    order = sorted(range(len(scores)), key=lambda i: (scores[i], i), reverse=True)
    ideal = sorted(relevance, reverse=True)
    gain = sum(relevance[order[i]] / math.log2(i + 2) for i in range(k))
    return gain / sum(ideal[i] / math.log2(i + 2) for i in range(k))


def test_ndcg_equals_its_definition_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(0, 4, 12) / 4
        relevance = rng.choice([0, 0, 0.2, 0.5, 1.0], 12)
        relevance[rng.integers(12)] = 1
        assert ndcg(scores, relevance) == pytest.approx(_slow_ndcg(scores.tolist(), relevance.tolist()))
    assert ndcg(np.array([3.0, 2.0, 1.0]), np.array([1.0, 0.5, 0.0])) == 1
    assert math.isnan(ndcg(np.zeros(3), np.zeros(3)))


def test_states_of_another_width_are_refused(bundle: Bundle, images) -> None:
    model = bundle.model
    vision = model.config.vision.model_copy(update={"width": 32})
    model.config, kept = model.config.model_copy(update={"vision": vision}), model.config
    try:
        with pytest.raises(ConfigError, match="caption=text"):
            dialog_scores(bundle, images[:1], DIALOGUES[:1], DialogSettings())
    finally:
        model.config = kept
