"""Vectors and scores of each family are those of its own model."""

import pytest
import torch

from limner.checkpoint import Bundle
from limner.ready.towers import (
    class_logits,
    cosine_scale,
    image_vectors,
    penultimate,
    picture_tokens,
    text_vectors,
)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32)


@torch.no_grad()
def test_image_vectors(bundles: dict[str, Bundle], pixels: torch.Tensor) -> None:
    models = {kind: bundle.model for kind, bundle in bundles.items()}
    expected = {
        "resnet": models["resnet"](pixels).pooled,
        "vit": models["vit"](pixels).pooled,
        "masked_patch": models["masked_patch"].vision(pixels).pooled,
        "clip": models["clip"].encode_image(pixels),
        "blip": models["blip"].embed_image(models["blip"].encode_image(pixels)),
        "matcher": models["matcher"].encode_image(pixels)[:, 0],
        "blip_vqa": models["blip_vqa"].encode_image(pixels)[:, 0],
    }
    for kind, vectors in expected.items():
        torch.testing.assert_close(image_vectors(models[kind], pixels), vectors)
    tokens = picture_tokens(models["blip_vqa"], pixels)
    torch.testing.assert_close(tokens[:, 0], expected["blip_vqa"])


@torch.no_grad()
def test_a_probe_reads_what_comes_before_the_joint_space(
    bundles: dict[str, Bundle], pixels: torch.Tensor
) -> None:
    clip, blip, vit = (bundles[kind].model for kind in ("clip", "blip", "vit"))
    features = penultimate(clip, pixels)
    torch.testing.assert_close(features, clip.vision(pixels).pooled)
    assert features.shape[1] == clip.config.vision.width
    torch.testing.assert_close(penultimate(blip, pixels), blip.encode_image(pixels)[:, 0])
    torch.testing.assert_close(penultimate(vit, pixels), vit(pixels).pooled)


@torch.no_grad()
def test_class_logits(bundles: dict[str, Bundle], pixels: torch.Tensor) -> None:
    for kind in ("resnet", "vit"):
        torch.testing.assert_close(
            class_logits(bundles[kind].model, pixels), bundles[kind].model(pixels).logits
        )
    blip = bundles["classifier"].model
    wanted = blip.classifier(blip.vision(pixels).pooled)
    torch.testing.assert_close(class_logits(blip, pixels), wanted)


@torch.no_grad()
def test_text_vectors_in_their_order_whatever_the_batches(bundles: dict[str, Bundle]) -> None:
    texts = ["the dog and the cat and the owl", "cat", "a dog on the ground", "", "an owl"]
    for kind in ("clip", "blip"):
        bundle = bundles[kind]
        whole = text_vectors(bundle, texts, 99)
        torch.testing.assert_close(text_vectors(bundle, texts, 2), whole)
        ids, mask = bundle.tokenizer.encode_batch(texts[2:3])
        alone = bundle.model.encode_text(ids) if kind == "clip" else bundle.model.embed_text(ids, mask)
        torch.testing.assert_close(whole[2:3], alone)


def test_cosine_scale(bundles: dict[str, Bundle]) -> None:
    assert cosine_scale(bundles["clip"].model) == pytest.approx(1 / 0.07)
    assert cosine_scale(bundles["blip"].model) == pytest.approx(1 / 0.07)
