"""Answers, matches and statements against the models' own methods."""

import pytest
import torch

from limner.checkpoint import Bundle, load
from limner.evaluate.answering import answers as answers_of_images
from limner.models.generate import generate
from limner.ready.replies import ANSWER, answers, matches, truths

TEXTS = ["a cat", "the dog and a cat on the ground", "an owl"]


@torch.no_grad()
def test_a_vqa_model_answers_as_generate_does(bundles: dict[str, Bundle]) -> None:
    bundle = bundles["blip_vqa"]
    model, tokenizer = bundle.model, bundle.tokenizer
    tokens = model.encode_image(torch.randn(3, 3, 32, 32))
    found = answers(bundle, tokens, TEXTS)
    for row, text in enumerate(TEXTS):
        ids = torch.tensor([tokenizer.encode(text)])
        memory = model.question_memory(tokens[row : row + 1], ids)
        alone = generate(model, memory, torch.tensor([[tokenizer.cls_id]]), ANSWER)
        assert tokenizer.decode(alone[0].ids) == found[row]


@torch.no_grad()
def test_a_blip_that_goes_on_answers_as_evaluate_does() -> None:
    from limner.data.scenes import SceneSettings, scene
    from limner.data.transforms import normalise

    bundle = load("limner_tiny")
    images = [scene(SceneSettings(seed=77, canvas_px=64), number).image for number in range(2)]
    questions = ["what is this?", "how many objects are there?"]
    u8 = torch.stack([torch.tensor(image).permute(2, 0, 1) for image in images])
    tokens = bundle.model.encode_image(normalise(u8, bundle.image_spec))
    expected = [
        answer for row in answers_of_images(bundle, images, [[q] for q in questions]) for answer in row
    ]
    assert answers(bundle, tokens, questions) == expected


@torch.no_grad()
def test_matches_are_the_heads_own(bundles: dict[str, Bundle]) -> None:
    pixels, rows = torch.randn(2, 3, 32, 32), [1, 0, 1]
    bundle = bundles["blip"]
    model, tokenizer = bundle.model, bundle.tokenizer
    tokens = model.encode_image(pixels)
    for found, text, row in zip(matches(bundle, pixels, TEXTS, rows, 2), TEXTS, rows, strict=True):
        ids = torch.tensor([tokenizer.encode(text)])
        logits = model.match(model.encoder_memory(tokens[row : row + 1]), ids)
        assert found.itm == pytest.approx(logits.softmax(1)[0, 1].item(), abs=1e-5)
        cosine = model.embed_image(tokens)[row] @ model.embed_text(ids)[0]
        assert found.itc == pytest.approx(cosine.item(), abs=1e-5)
    assert matches(bundles["clip"], pixels, TEXTS, rows, 2)[0].itm is None
    assert matches(bundles["matcher"], pixels, TEXTS, rows, 2)[0].itc is None


@torch.no_grad()
def test_truths_are_the_models_own(bundles: dict[str, Bundle]) -> None:
    bundle = bundles["blip_nlvr2"]
    model, tokenizer = bundle.model, bundle.tokenizer
    tokens = model.encode_image(torch.randn(2, 3, 32, 32))
    found = truths(bundle, tokens[:1], tokens[1:], TEXTS)
    memory = model.memory(tokens[:1], tokens[1:])
    for probability, text in zip(found, TEXTS, strict=True):
        logits = model.judge(memory, torch.tensor([tokenizer.encode(text)]))
        assert probability == pytest.approx(logits.softmax(1)[0, 1].item(), abs=1e-5)
