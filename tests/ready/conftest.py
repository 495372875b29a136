"""Pictures drawn from a seed, and a small model of each family in a bundle."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from limner.checkpoint import Bundle, load, save_bundle
from limner.data.bpe import CLIPTokenizer
from limner.data.scenes import SceneSettings, scene
from limner.data.tokenizers import WordPiece
from limner.models import build
from limner.models.bert import BertConfig
from limner.models.blip import BLIPConfig
from limner.models.blip_nlvr2 import BLIPNLVR2Config
from limner.models.blip_vqa import BLIPVQAConfig
from limner.models.clip import CLIPConfig, CLIPTextConfig
from limner.models.masked_patch import MaskedPatchConfig
from limner.models.resnet import ResNetConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

MERGES = "#version: 0.2\nt h\nth e</w>\nc a\nca t</w>\na n\na n</w>\nd o\ndo g</w>\n"
WORDS = ["a cat and a dog on the ground", "what is this? an owl", "how many dogs? two"]
LABELS = ("cat", "dog", "owl", "fish")
SIZE = 32
VIT = ViTConfig(image_size=SIZE, patch_size=16, width=32, depth=2, num_heads=2, mlp_dim=64)


def _configs(words: WordPiece, clip: CLIPTokenizer) -> dict:
    text = BertConfig(
        vocab_size=words.vocab_size,
        width=24,
        depth=2,
        num_heads=2,
        mlp_dim=48,
        max_positions=64,
        memory_width=32,
        dropout=0.0,
    )
    names = ("pad_id", "cls_id", "sep_id", "dec_id", "enc_id")
    grounded = {"vision": VIT, "text": text} | {name: getattr(words, name) for name in names}
    tower = CLIPTextConfig(
        vocab_size=clip.vocab_size, context_length=16, width=24, depth=1, num_heads=2, mlp_dim=48
    )
    return {
        "resnet": ResNetConfig(block="basic", depths=(1, 1), widths=(8, 16), num_classes=4),
        "vit": VIT.model_copy(update={"num_classes": 4}),
        "masked_patch": MaskedPatchConfig(vision=VIT),
        "clip": CLIPConfig(vision=VIT.model_copy(update={"pre_norm": True}), text=tower, embed_dim=20),
        "blip": BLIPConfig(**grounded, embed_dim=16),
        "captioner": BLIPConfig(**grounded, heads=("lm",)),
        "matcher": BLIPConfig(**grounded, heads=("itm",)),
        "classifier": BLIPConfig(**grounded, heads=(), num_classes=4),
        "blip_vqa": BLIPVQAConfig(**grounded),
        "blip_nlvr2": BLIPNLVR2Config(**grounded),
    }


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """By what they are; written and read back."""
    words, clip = WordPiece.from_texts(WORDS, 120), CLIPTokenizer.from_merges(MERGES, context_length=16)
    place, made = tmp_path_factory.mktemp("bundles"), {}
    for kind, config in _configs(words, clip).items():
        torch.manual_seed(3)
        model = build(config)
        reads = None if kind in ("resnet", "vit", "masked_patch") else clip if kind == "clip" else words
        labels = LABELS if kind in ("resnet", "classifier") else ()
        spec = ImageSpec(size=SIZE, crop="center")
        save_bundle(place / kind, model, "", config, spec, reads, labels=labels)
        made[kind] = load(place / kind)
    return made


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos/0.png` to `photos/3.png`: a camel, a sun and three pencils, a key, a deer."""
    place = tmp_path_factory.mktemp("pictures")
    (place / "photos").mkdir()
    for number in range(4):
        Image.fromarray(scene(SceneSettings(seed=77), number).image).save(place / f"photos/{number}.png")
    return place
