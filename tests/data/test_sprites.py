import io
from pathlib import Path

import numpy as np
import pytest

from limner.data import sprites
from limner.data.sprites import HANDS, SPRITE_PX, cache_folder, load_sprite

TWO = {"🦉": 0, "🐟": 1}


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache file of two sprites, freshly written."""
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path))
    monkeypatch.setattr(sprites, "emoji_order", lambda: TWO)
    _pixels()
    (path,) = tmp_path.iterdir()
    return path


def _pixels() -> np.ndarray:
    return sprites._pixels.__wrapped__("twemoji", 0)


def test_the_cache_is_read_and_not_drawn_again(cached: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("drawn again")

    drawn = np.load(cached)["pixels"]
    monkeypatch.setattr(sprites, "sprite", refuse)
    assert np.array_equal(_pixels(), drawn)
    assert drawn.shape == (2, SPRITE_PX, SPRITE_PX, 4)


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def _bare(_: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize("spoil", [_cut, _flip, lambda data: b"", lambda data: b"not a zip", _bare])
def test_a_broken_cache_is_drawn_again(cached: Path, spoil):
    whole = _pixels()
    cached.write_bytes(spoil(cached.read_bytes()))
    assert np.array_equal(_pixels(), whole)
    assert np.array_equal(np.load(cached)["pixels"], whole)


@pytest.mark.parametrize("wrong", [np.zeros((2, 8, 8, 4), np.uint8), np.array([{}], dtype=object)])
def test_a_cache_of_something_else_is_drawn_again(cached: Path, wrong: np.ndarray):
    whole = _pixels()
    with cached.open("wb") as file:
        np.savez(file, pixels=wrong)
    assert np.array_equal(_pixels(), whole)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(sprites, "emoji_order", lambda: TWO)
    assert _pixels().shape == (2, SPRITE_PX, SPRITE_PX, 4)


def test_each_hand_draws_differently(cached: Path):
    for style, sheets in HANDS.items():
        hands = [sprites._pixels.__wrapped__(style, hand) for hand in range(len(sheets))]
        assert len({hand.tobytes() for hand in hands}) == len(sheets)


def test_a_sprite_fills_its_square_up_to_the_margin():
    owl = load_sprite("twemoji", "🦉")
    assert max(owl.width, owl.height) in range(SPRITE_PX - 6, SPRITE_PX + 1)
    assert (owl.large.mode, owl.large.size, owl.small.size) == ("RGBa", (96, 96), (48, 48))


def test_the_mean_colour_is_that_of_the_drawn_part():
    red, green, blue = load_sprite("twemoji", "🟥").colour
    assert (red, green, blue) == pytest.approx((0xDD, 0x2E, 0x44), abs=2)


@pytest.mark.parametrize(
    ("platform", "variable", "below"),
    [
        ("linux", "XDG_CACHE_HOME", "limner"),
        ("win32", "LOCALAPPDATA", "limner/Cache"),
        ("darwin", "HOME", "Library/Caches/limner"),
    ],
)
def test_where_the_cache_lies(
    platform: str, variable: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("LIMNER_CACHE")
    monkeypatch.setattr(sprites.sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert cache_folder() == tmp_path / below
    monkeypatch.setenv("LIMNER_CACHE", "elsewhere")
    assert cache_folder() == Path("elsewhere")
