"""A tiny BLIP of random weights with its tokenizer, and pictures for it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from limner.checkpoint import Bundle
from limner.data.tokenizers import WordPiece
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

SIZE = 16
TEXTS = [
    "an owl",
    "two red hearts on a blue background",
    "a bus to the left of a tree",
    "there are three fish",
    "a cat, a dog and an apple",
    "how many owls are there?",
    "what colour is the heart?",
    "is there a bus?",
]


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    torch.manual_seed(5)
    tokenizer = WordPiece.from_texts(TEXTS, 120)
    vision = ViTConfig(image_size=SIZE, patch_size=8, width=16, depth=1, num_heads=2, mlp_dim=32)
    text = BertConfig(
        vocab_size=tokenizer.vocab_size,
        width=16,
        depth=2,
        num_heads=2,
        mlp_dim=32,
        memory_width=16,
        max_positions=48,
        init_std=0.4,
    )
    config = BLIPConfig(
        vision=vision,
        text=text,
        embed_dim=8,
        pad_id=tokenizer.pad_id,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        dec_id=tokenizer.dec_id,
        enc_id=tokenizer.enc_id,
    )
    return Bundle("tiny", BLIP(config).eval(), ImageSpec(size=SIZE), tokenizer, {}, "0" * 12, Path("nowhere"))


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(7)]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS[:7]
