"""Matches and statements against the models' own methods."""

import pytest
import torch

from limner.checkpoint import Bundle
from limner.ready.replies import matches, truths

TEXTS = ["a cat", "the dog and a cat on the ground", "an owl"]


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
