"""A small table of two colours in two domains, and models that name them without being trained."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from limner.checkpoint import Bundle
from limner.data.bpe import CLIPTokenizer
from limner.data.table import BOX, SCHEMA, Table
from limner.models import build
from limner.models.clip import CLIPConfig, CLIPTextConfig
from limner.models.detector import DetectorConfig
from limner.models.resnet import ResNetConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

SIZE = 16
BODY = ResNetConfig(block="basic", depths=(1, 1), widths=(8, 16), stem="cifar", num_classes=2)
VIT = ViTConfig(image_size=SIZE, patch_size=8, width=16, depth=1, num_heads=2, mlp_dim=16, num_classes=0)
TEXT = CLIPTextConfig(vocab_size=600, context_length=12, width=16, depth=1, num_heads=2, mlp_dim=16)
SPEC = ImageSpec(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def table(folder: Path, count: int = 40) -> Path:
    """Red and blue pictures; in the domain "dim" they are dark; one box each, over the left half."""
    schema, rng, rows = SCHEMA.append(pa.field("domain", pa.string())), np.random.default_rng(0), []
    for number in range(count):
        red, dim = number % 2 == 0, number >= count // 2
        image = rng.integers(0, 60, (20, 20, 3)).astype(np.uint8)
        image[..., 0 if red else 2] += 60 if dim else 190
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        rows.append(
            {
                "key": str(number),
                "image": file.getvalue(),
                "width": 20,
                "height": 20,
                "label": "red" if red else "blue",
                "texts": ["a red thing here" if red else "the blue thing"],
                "domain": "dim" if dim else "bright",
                "boxes": [{"x0": 0, "y0": 0, "x1": 10, "y1": 20, "label": "red" if red else "blue"}],
            }
        )
    assert schema.field("boxes").type.value_type == BOX
    return Table.write(folder / "colours.lance", [pa.RecordBatch.from_pylist(rows, schema)], schema).path


def bundle(model: torch.nn.Module, labels: tuple[str, ...] = (), tokenizer: object = None) -> Bundle:
    """A model in eval mode with what belongs to it."""
    return Bundle("", model.eval(), SPEC, tokenizer, {}, "", Path("here"), labels=labels)  # type: ignore[arg-type]


def classifier() -> Bundle:
    """Names red and blue by the difference of the mean channels: exact, and blind to all else."""
    made = build(BODY)

    class Colours(type(made)):  # type: ignore[misc]
        def forward(self, pixels: torch.Tensor) -> object:
            red, blue = pixels[:, 0].mean((1, 2)), pixels[:, 2].mean((1, 2))
            pooled = torch.stack([blue, red], 1)
            return super().forward(pixels)._replace(pooled=pooled, logits=pooled)

    made.__class__ = Colours
    return bundle(made, ("blue", "red"))


def clip() -> Bundle:
    """An untrained CLIP."""
    model = build(CLIPConfig(vision=VIT, text=TEXT, embed_dim=8))
    return bundle(model, (), CLIPTokenizer.from_merges(context_length=12, vocab_size=600))


def detector() -> Bundle:
    """An untrained detector of two colours."""
    config = DetectorConfig(
        backbone=BODY, num_classes=2, pyramid_dim=8, coarsest=8, anchor_scale=4, box_dim=16, proposals=20
    )
    return bundle(build(config), ("blue", "red"))
