"""Flickr's token files, with the faults that the real one has."""

from pathlib import Path

import pytest

from limner.data.sources.flickr8k import recognise
from limner.data.sources.item import Guess, ImportOptions
from limner.errors import DataError

OPTIONS = ImportOptions()
LINES = ["a.jpg#1\tsecond .", "a.jpg#0\tfirst ,\twith a tab", "b.jpg#0\tthird", "c.jpg.1#0\tno such file"]


def build(folder: Path, lines: list[str], end: str = "\n") -> Path:
    text = folder / "Flickr8k_text"
    text.mkdir()
    token = text / "Flickr8k.token.txt"
    token.write_bytes(end.join([*lines, ""]).encode())
    (text / "Flickr8k.lemma.token.txt").write_bytes(b"a.jpg#0\tlemma\n")
    (text / "Flickr_8k.trainImages.txt").write_bytes(f"a.jpg{end}".encode())
    (text / "Flickr_8k.devImages.txt").write_bytes(f"b.jpg{end}gone.jpg{end}".encode())
    (folder / "Flicker8k_Dataset").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "Flicker8k_Dataset" / name).write_bytes(b"x")
    return token


def guessed(path: Path) -> Guess:
    guess = recognise(path, OPTIONS)
    assert guess is not None
    return guess


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_captions_in_order_with_their_splits(tmp_path: Path, end: str) -> None:
    token = build(tmp_path, LINES, end)
    for path in (token, token.parent, tmp_path):
        guess = guessed(path)
        items = list(guess.items())
        assert [(item.key, item.texts, item.split) for item in items] == [
            ("a.jpg", ("first ,\twith a tab", "second ."), "train"),
            ("b.jpg", ("third",), "val"),
            ("c.jpg.1", ("no such file",), None),
        ]
        assert items[0].picture == tmp_path / "Flicker8k_Dataset" / "a.jpg"
        assert guess.count == 3
        assert "Flickr token file: Flickr8k.token.txt, 4 captions of 3 pictures" in guess.lines
        assert "not matched: 1 names in the lists of splits have no caption" in guess.lines
        assert any("1 of 3 looked for are not there" in line for line in guess.lines)


def test_broken_lines_are_counted(tmp_path: Path) -> None:
    guess = guessed(build(tmp_path, [*LINES, "no caption here", "", "x.jpg\ttext"]))
    assert "not read: 2 lines that are no captions" in guess.lines


def test_files_that_are_something_else(tmp_path: Path) -> None:
    path = build(tmp_path, ["one", "two", "a.jpg#0\tthree"])
    with pytest.raises(DataError, match="2 of the 3 lines"):
        recognise(path, OPTIONS)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="0 of the 0 lines"):
        recognise(path, OPTIONS)
    path.write_bytes(b"z.jpg#0\tgone\n")
    with pytest.raises(DataError, match="none of the pictures"):
        recognise(path, OPTIONS)


def test_other_files_are_another_kind(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("image,caption\na.jpg,one\n", encoding="utf-8")
    for path in (tmp_path, tmp_path / "captions.txt", tmp_path / "none"):
        assert recognise(path, OPTIONS) is None
