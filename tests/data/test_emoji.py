import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data import emoji as module
from limner.data.emoji import (
    LICENCES,
    base_emoji,
    build_emoji_table,
    drawn_emoji,
    name_of,
    split_of,
    sprite,
    svg_path,
)
from limner.errors import DataError


@pytest.mark.parametrize("style", module.STYLES)
def test_a_sprite_is_rgba_with_a_clear_ground(style: str):
    owl = sprite("🦉", style, 48)
    assert owl.shape == (48, 48, 4)
    assert owl.dtype == np.uint8
    assert owl[0, 0, 3] == 0
    assert 0.2 < (owl[..., 3] > 128).mean() < 0.95


def test_a_sprite_is_drawn_the_same_twice_and_a_style_sheet_changes_it():
    plain = sprite("🦉", "twemoji", 32)
    outlined = sprite("🦉", "twemoji", 32, "path{stroke:#000;stroke-width:2px}")
    assert np.array_equal(plain, sprite("🦉", "twemoji", 32))
    assert not np.array_equal(plain, outlined)


def test_a_variation_selector_makes_no_difference():
    for style in module.STYLES:
        assert svg_path("❤", style) == svg_path("❤️", style) is not None


def test_what_is_not_drawn_is_an_error_that_says_so():
    with pytest.raises(DataError, match="openmoji has no picture of 'x'"):
        sprite("x", "openmoji", 32)
    with pytest.raises(DataError, match="unknown art style 'noto'"):
        sprite("🦉", "noto", 32)


def test_a_missing_art_package_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(module.PACKAGES, "twemoji", "no-such-package")
    with pytest.raises(DataError, match="package no-such-package is not installed"):
        module._folder.__wrapped__("twemoji")


@pytest.mark.parametrize("style", module.STYLES)
def test_drawn_emoji_have_no_skin_tone_and_nearly_all_are_drawn(style: str):
    found = drawn_emoji(style)
    assert len(base_emoji()) - 20 < len(found)
    assert 1850 < len(found) == len(set(found))
    assert "🦉" in found
    assert "👍" in found
    assert "👍🏽" not in found


@pytest.mark.parametrize(
    ("emoji", "language", "name"),
    [
        ("🦉", "en", "owl"),
        ("❤️", "en", "red heart"),
        ("⛑️", "en", "rescue worker’s helmet"),
        ("🇵🇪", "en", "flag of Peru"),
        ("🦉", "zh", "猫头鹰"),
        ("🦉", "es", "búho"),
        ("🦉", "de", "eule"),
        ("🦉", "fr", "chouette"),
        ("🦉", "ja", "フクロウ"),
    ],
)
def test_names(emoji: str, language: str, name: str):
    assert name_of(emoji, language) == name


def test_splits_are_eight_to_one_to_one():
    shares = Counter(split_of(str(number)) for number in range(5000))
    assert shares.keys() == {"train", "val", "test"}
    assert abs(shares["train"] / 5000 - 0.8) < 0.03
    assert abs(shares["val"] / 5000 - 0.1) < 0.02


def test_the_table_has_a_row_for_each_emoji_and_style(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "drawn_emoji", lambda style: ["☀️", "🇵🇪", "🦉"])
    told: list[tuple[int, int]] = []
    table = build_emoji_table(tmp_path / "emoji.lance", progress=lambda *step: told.append(step))

    rows = {row["key"]: row for row in table.rows(range(6))}
    assert rows.keys() == {f"{s}/{c}" for s in module.STYLES for c in ("2600-FE0F", "1F1F5-1F1EA", "1F989")}
    owl = rows["twemoji/1F989"]
    assert (owl["label"], owl["texts"], owl["group"]) == ("owl", ["owl"], "Animals & Nature")
    assert (owl["name_zh"], owl["source"], owl["licence"]) == ("猫头鹰", "twemoji", LICENCES["twemoji"])
    assert owl["split"] == rows["openmoji/1F989"]["split"]
    image = Image.open(io.BytesIO(owl["image"]))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (128, 128))
    assert image.getpixel((0, 0)) == (255, 255, 255)
    assert told == [(6, 6)]


def test_a_table_is_not_written_over_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "drawn_emoji", lambda style: ["🦉"])
    out = tmp_path / "emoji.lance"
    build_emoji_table(out)
    with pytest.raises(DataError, match="exists already"):
        build_emoji_table(out)
    assert build_emoji_table(out, overwrite=True).num_rows == 2


def test_a_font_is_an_art_style(tmp_path: Path):
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    sun = sprite("☀️", f"font:{font}", 48)
    assert sun.shape == (48, 48, 4)
    assert 0.05 < (sun[..., 3] > 128).mean() < 0.95
    with pytest.raises(DataError, match="no font at"):
        sprite("☀️", f"font:{tmp_path / 'none.ttf'}", 48)
    with pytest.raises(DataError, match="has no picture"):
        sprite(" ", f"font:{font}", 48)
