"""A tiny random model on disk, a folder of pictures some of which are broken, and a way to call limner."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result

from limner.checkpoint import save_bundle
from limner.cli import app
from limner.data.tokenizers import WordPiece
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

TEXTS = ["a red ball on a blue ground", "two fish and an owl", "what is it? a cat", "three yellow stars"]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    tokenizer = WordPiece.from_texts(TEXTS * 3, vocab_size=200)
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
    folder = tmp_path_factory.mktemp("model") / "tiny"
    return save_bundle(folder, BLIP(config), "limner_tiny", config, ImageSpec(size=16), tokenizer)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four pictures, one with a caption beside it; one file cut short, one empty, one that is no picture."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number in range(4):
        image = Image.new("RGB", (64, 48), (60 * number, 120, 200 - 40 * number))
        ImageDraw.Draw(image).ellipse((10, 5, 30 + 5 * number, 40), fill="white")
        image.save(folder / f"p{number}.png")
    (folder / "p1.txt").write_text("a red ball on a blue ground")
    whole = (folder / "p0.png").read_bytes()
    (folder / "more" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "more" / "empty.jpg").touch()
    (folder / "more" / "words.png").write_text("no picture")
    return folder


@pytest.fixture
def limner(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls the command line in this process; an unexpected exception fails the test."""
    monkeypatch.setenv("LIMNER_MODEL", str(model_folder))
    monkeypatch.delenv("LIMNER_DEBUG", raising=False)

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
