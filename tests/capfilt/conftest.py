"""Tiny random models and a small noisy table: nothing here knows what it sees, and the ledger must hold."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from limner.checkpoint import Bundle
from limner.data.table import Table
from limner.data.tokenizers import WordPiece
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

TEXTS = [
    "a red bus on a blue ground",
    "two fish left of an owl",
    "a cat above a small green tree",
    "three yellow stars and a moon",
]


@pytest.fixture(scope="session")
def tokenizer() -> WordPiece:
    return WordPiece.from_texts(TEXTS * 3, vocab_size=200)


@torch.no_grad()
def spread_scores(model: BLIP, tokenizer: WordPiece) -> None:
    """Make pictures and texts matter, and let half of all pairs match."""
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.mul_(4)
    size = model.config.vision.image_size
    memory = model.encoder_memory(model.encode_image(torch.randn(len(TEXTS), 3, size, size)))
    logits = model.match(memory, *tokenizer.encode_batch(TEXTS))
    model.itm_head.bias[1] -= (logits[:, 1] - logits[:, 0]).median()


@pytest.fixture(scope="session")
def make_bundle(tokenizer: WordPiece) -> Callable[..., Bundle]:
    def make(seed: int = 0, size: int = 16, sharing: str = "all_but_self_attention") -> Bundle:
        torch.manual_seed(seed)
        config = BLIPConfig(
            vision=ViTConfig(image_size=size, patch_size=8, width=16, depth=1, num_heads=2, mlp_dim=32),
            text=BertConfig(
                vocab_size=tokenizer.vocab_size,
                width=16,
                depth=2,
                num_heads=2,
                mlp_dim=32,
                max_positions=48,
                memory_width=16,
            ),
            embed_dim=8,
            sharing=sharing,
            pad_id=tokenizer.pad_id,
            cls_id=tokenizer.cls_id,
            sep_id=tokenizer.sep_id,
            dec_id=tokenizer.dec_id,
            enc_id=tokenizer.enc_id,
        )
        model = BLIP(config).eval()
        spread_scores(model, tokenizer)
        return Bundle("tiny", model, ImageSpec(size=size), tokenizer, {}, f"{seed:012x}", Path("tiny"))

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle(0)


@pytest.fixture(scope="session")
def other_bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    return make_bundle(1, size=24)


def png(seed: int, size: int = 20) -> bytes:
    """A picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def make_table(tmp_path: Path) -> Callable[..., Table]:
    def make(
        texts: Sequence[list[str] | None],
        broken: Sequence[int] = (),
        truth: Sequence[list[str]] | None = None,
    ) -> Table:
        columns = {
            "key": [f"row{i}" for i in range(len(texts))],
            "image": [png(i)[:60] if i in broken else png(i) for i in range(len(texts))],
            "texts": list(texts),
            **({"truth": list(truth)} if truth else {}),
        }
        lists = pa.list_(pa.string())
        schema = pa.schema({"key": pa.string(), "image": pa.large_binary(), "texts": lists})
        if truth:
            schema = schema.append(pa.field("truth", lists))
        table = pa.table(columns, schema=schema)
        return Table.write(tmp_path / "pairs.lance", table.to_batches(max_chunksize=7), schema)

    return make


@pytest.fixture
def noisy(make_table: Callable[..., Table]) -> Table:
    """23 rows: texts, junk, several texts, none, and two broken pictures."""
    texts: list[list[str] | None] = [[TEXTS[i % 4]] for i in range(16)]
    texts += [
        ["IMG_2034.jpg"],
        ["nan", "a red bus"],
        [],
        None,
        [""],
        [TEXTS[0], TEXTS[1], TEXTS[0]],
        ["https://x.org/1"],
    ]
    return make_table(texts, broken=(3, 19))
