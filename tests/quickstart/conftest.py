"""A tiny random model that knows the words of scenes, and someone who listens."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from limner.checkpoint import save_bundle
from limner.data.concepts import CONCEPTS
from limner.data.tokenizers import WordPiece
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

TEXTS = [
    "a picture of an owl and two cats on a white background",
    "there are three red hearts above a blue fish",
    "there is one bus to the left of four keys on a green ground",
    "a boat to the right of a tree below a black moon",
]
WORDS = [f"{concept.name} {concept.plural}" for concept in CONCEPTS]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tokenizer = WordPiece.from_texts(TEXTS * 3 + WORDS, vocab_size=1000)
    text = BertConfig(
        vocab_size=tokenizer.vocab_size,
        width=16,
        depth=1,
        num_heads=2,
        mlp_dim=32,
        max_positions=40,
        memory_width=16,
    )
    config = BLIPConfig(
        vision=ViTConfig(image_size=16, patch_size=8, width=16, depth=1, num_heads=2, mlp_dim=32),
        text=text,
        embed_dim=8,
        pad_id=tokenizer.pad_id,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        dec_id=tokenizer.dec_id,
        enc_id=tokenizer.enc_id,
    )
    model = BLIP(config)
    spread_scores(model, tokenizer)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    return save_bundle(folder, model, "limner_tiny", config, ImageSpec(size=16), tokenizer)


@torch.no_grad()
def spread_scores(model: BLIP, tokenizer: WordPiece) -> None:
    """Make pictures and texts matter, and let half of all pairs match."""
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.mul_(4)
    memory = model.encoder_memory(model.encode_image(torch.randn(len(TEXTS), 3, 16, 16)))
    logits = model.match(memory, *tokenizer.encode_batch(TEXTS))
    model.itm_head.bias[1] -= (logits[:, 1] - logits[:, 0]).median()


class Listener:
    """A teller that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def bar(self, title: str) -> Iterator[Callable[[int, int | None], None]]:
        self.bars.append(title)
        yield lambda done, total: None


@pytest.fixture
def teller() -> Listener:
    return Listener()


@pytest.fixture(scope="session")
def listener() -> type[Listener]:
    return Listener


@pytest.fixture(scope="module")
def few_emoji(_cache_folder: Path) -> Iterator[None]:
    """An emoji table of four rows, and the cache of the test session, for fixtures that outlive a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limner.data.emoji.drawn_emoji", lambda style: ["🐙", "🦉"])
        patch.setenv("LIMNER_CACHE", str(_cache_folder))
        yield
