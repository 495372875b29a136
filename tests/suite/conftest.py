"""A table of coloured pictures with classes and texts, a BLIP, and a classifier of three colours."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from limner.checkpoint import Bundle, save_bundle
from limner.data.importing import ImportOptions, import_source
from limner.data.tokenizers import WordPiece
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.resnet import ResNet, ResNetConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

CLASSES = ("blue", "green", "red")
SIZE = 16
MADE: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("transfer_models.py")))


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 pictures of three colours with noise, 24 to train, 12 to test, two texts each."""
    from PIL import Image

    place = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    lines = ["image,label,split,caption"]
    for number in range(36):
        label = CLASSES[number % 3]
        pixels = rng.integers(0, 90, (20, 24, 3), dtype=np.uint8)
        pixels[..., {"red": 0, "green": 1, "blue": 2}[label]] += 120
        Image.fromarray(pixels).save(place / f"{number:02}.png")
        split = "test" if number >= 24 else "train"
        lines.append(f"{number:02}.png,{label},{split},a {label} square of number {number}")
    (place / "rows.csv").write_text("\n".join(lines))
    import_source(place / "rows.csv", place / "colours.lance", ImportOptions())
    return place / "colours.lance"


@pytest.fixture(scope="session")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    tokenizer = WordPiece.from_texts(["a red green blue square of number 1 2 3 4 5 6 7 8 9 0 photo"] * 3, 120)
    text = BertConfig(
        vocab_size=tokenizer.vocab_size,
        width=16,
        depth=1,
        num_heads=2,
        mlp_dim=32,
        max_positions=40,
        memory_width=16,
        init_std=0.3,
    )
    config = BLIPConfig(
        vision=ViTConfig(image_size=SIZE, patch_size=8, width=16, depth=1, num_heads=2, mlp_dim=32),
        text=text,
        embed_dim=8,
        pad_id=tokenizer.pad_id,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        dec_id=tokenizer.dec_id,
        enc_id=tokenizer.enc_id,
    )
    spec = ImageSpec(size=SIZE)
    path = save_bundle(tmp_path_factory.mktemp("blip") / "m", BLIP(config), "", config, spec, tokenizer)
    return Bundle("", BLIP(config).eval(), spec, tokenizer, {}, "b" * 12, path, architecture="blip")


@pytest.fixture(scope="session")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Bundle]:
    """A ResNet that tells the three colours, with its classes in the order given."""

    def build(labels: tuple[str, ...] = CLASSES) -> Bundle:
        torch.manual_seed(0)
        config = ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=3, stem="cifar")
        model = ResNet(config)
        with torch.no_grad():
            for part in model.modules():
                if isinstance(part, nn.Conv2d):
                    part.weight.zero_()
            for channel in range(3):
                model.conv1.weight[channel, channel, 1, 1] = 1.0
            model.fc.weight.zero_()
            model.fc.bias.zero_()
            for number, label in enumerate(CLASSES):
                model.fc.weight[number, {"red": 0, "green": 1, "blue": 2}[label]] = 5.0
        spec = ImageSpec(size=SIZE)
        path = save_bundle(tmp_path_factory.mktemp("resnet") / "m", model, "", config, spec, labels=labels)
        return Bundle("", model.eval(), spec, None, {}, "r" * 12, path, labels=labels, architecture="resnet")

    return build


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a table of red and blue pictures, bright and dim."""
    return str(MADE["table"](tmp_path_factory.mktemp("colours")))


@pytest.fixture
def made() -> Callable[[str], Any]:
    """A bundle by name: "classifier", "clip" or "detector"."""
    return lambda name: MADE[name]()
