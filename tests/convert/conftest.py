"""Opening a ViT the way the converters are used: recognised, described, read, loaded strictly."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.checkpoint import Bundle
from limner.config import Config
from limner.convert import keymap as keys
from limner.convert.dialect import Description, Dialect, Weights
from limner.models import architecture_of, build
from limner.models.bert import BertConfig
from limner.models.blip import BLIPConfig
from limner.models.blip_nlvr2 import BLIPNLVR2Config
from limner.models.blip_vqa import BLIPVQAConfig
from limner.models.clip import CLIPConfig, CLIPTextConfig
from limner.models.clip_resnet import CLIPResNetConfig
from limner.models.resnet import ResNetConfig
from limner.models.vit import ViT
from limner.models.vit_config import ViTConfig
from limner.shapes import ImageSpec

Opened = tuple[ViT, Description, Dialect]


@pytest.fixture
def stirred() -> Callable[[nn.Module], Any]:
    """A function that gives every parameter a value that shows when it is used wrongly."""

    @torch.no_grad()
    def stir(model: nn.Module) -> nn.Module:
        for name, parameter in model.named_parameters():
            parameter.uniform_(-0.3, 0.3)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1.0)
        return model.eval()

    return stir


@pytest.fixture
def weights_of() -> Callable[..., Weights]:
    """A function that makes `Weights` of tensors and the JSON beside them."""

    def make(tensors: Mapping[str, Tensor], name: str = "model.safetensors", **sides: Any) -> Weights:
        parsed = {f"{side}.json": value for side, value in sides.items()}
        return Weights(tensors, {}, parsed, Path(name), "0" * 64, "safetensors")

    return make


@pytest.fixture
def open_vit(weights_of: Callable[..., Weights]) -> Callable[..., Opened]:
    """A function that opens a state dict by the one dialect that recognises it."""
    from limner.convert.vit import DIALECTS

    def open_it(tensors: Mapping[str, Tensor], name: str = "model.safetensors", **sides: Any) -> Opened:
        weights = weights_of(tensors, name, **sides)
        (dialect,) = [dialect for dialect in DIALECTS if dialect.recognises(weights)]
        description = dialect.describe(weights)
        ours = keys.read(tensors, dialect.keymap(description.config), name)
        with torch.device("meta"):
            model = ViT(description.config)
        model.load_state_dict(ours, strict=True, assign=True)
        return model.eval(), description, dialect

    return open_it


@pytest.fixture
def same_logits() -> Callable[..., None]:
    """A function that asserts that two models say the same of random pixels, batch 1 and 3."""

    @torch.no_grad()
    def compare(ours: ViT, theirs: Callable[[Tensor], Tensor], bound: float = 1e-5) -> None:
        for batch in (1, 3):
            pixels = torch.randn(batch, 3, ours.config.image_size, ours.config.image_size)
            out, expected = ours(pixels), theirs(pixels)
            mine = out.logits if ours.config.num_classes else out.pooled
            assert mine.shape == expected.shape
            assert ((mine - expected).abs().max() / expected.abs().max()).item() <= bound

    return compare


@pytest.fixture(scope="session")
def small_configs() -> dict[str, Config]:
    """A small model of every family and head that other libraries store, by a name of this test's own."""
    sizes = {"image_size": 32, "patch_size": 16, "width": 64, "depth": 2, "num_heads": 1, "mlp_dim": 256}
    plain, like_clip = ViTConfig(**sizes), {"pre_norm": True, "patch_bias": False, "layer_norm_eps": 1e-5}
    words = {"width": 64, "depth": 2, "num_heads": 1}
    text = BertConfig(vocab_size=140, mlp_dim=96, max_positions=12, memory_width=64, **words)
    clip_text = CLIPTextConfig(vocab_size=600, context_length=12, mlp_dim=256, **words)
    blip = {"vision": plain, "text": text, "dec_id": 138, "enc_id": 139}
    resnet = CLIPResNetConfig(depths=(1, 1, 1, 1), width=8, image_size=64, num_heads=4, embed_dim=16)
    quick = ViTConfig(**sizes, **like_clip, activation="quick_gelu")
    exact = clip_text.model_copy(update={"activation": "gelu"})
    return {
        "resnet": ResNetConfig(block="bottleneck", depths=(1, 1, 1, 1), num_classes=7),
        "resnet_v1": ResNetConfig(block="bottleneck", depths=(1, 1), widths=(8, 16), stride_on="1x1"),
        "cifar": ResNetConfig(
            block="basic", depths=(1, 1), widths=(8, 16), num_classes=10, stem="cifar", shortcut="A"
        ),
        "vit": ViTConfig(**sizes, num_classes=5),
        "vit_features": plain,
        "vit_gap": ViTConfig(**sizes, num_classes=3, pool="gap", class_token=False),
        "deit": ViTConfig(**sizes, num_classes=3, distilled=True),
        "clip": CLIPConfig(vision=quick, text=clip_text, embed_dim=16),
        "clip_gelu": CLIPConfig(vision=ViTConfig(**sizes, **like_clip), text=exact, embed_dim=16),
        "clip_resnet": CLIPConfig(vision=resnet, text=clip_text, embed_dim=16),
        "captioner": BLIPConfig(**blip, heads=("lm",)),
        "retriever": BLIPConfig(**blip, embed_dim=16, heads=("itc", "itm")),
        "blip": BLIPConfig(**blip, embed_dim=16),
        "vqa": BLIPVQAConfig(**blip),
        "nlvr2": BLIPNLVR2Config(**blip),
    }


@pytest.fixture
def small_bundle(
    small_configs: dict[str, Config], stirred: Callable[[nn.Module], Any]
) -> Callable[[str], Bundle]:
    """A function that makes one of the small models with stirred weights, and all that goes with it."""

    def make(name: str) -> Bundle:
        config = small_configs[name]
        size = getattr(getattr(config, "vision", config), "image_size", 32)
        model = stirred(build(config))
        with torch.no_grad():
            for scale, value in (("temperature", 0.07), ("log_logit_scale", 3.0)):
                if hasattr(model, scale):
                    getattr(model, scale).fill_(value)
        kind = architecture_of(config)
        return Bundle("", model, ImageSpec(size=size), None, {}, "0" * 12, Path(name), architecture=kind)

    return make
