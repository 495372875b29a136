"""JSON files from anywhere."""

from pathlib import Path

import pytest

from limner.data.sources.jsonfile import objects, read_json, text_of
from limner.errors import DataError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('{"a": "café à"}'.encode(encoding))
    assert read_json(path) == {"a": "café à"}


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[1]", encoding="utf-8")
    assert read_json(path) == [1]
    path.write_text("[1, 2]", encoding="utf-8")
    assert read_json(path) == [1, 2]


def test_json_lines_are_not_one_value(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}\n{"a": 2}\n', encoding="utf-8")
    assert read_json(path) is None


@pytest.mark.parametrize("text", ["", "{", '{"a": ', "[" * 100_000, "<html>", "1" * 5000])
def test_what_is_no_json(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"is empty|is no whole JSON|cannot be read as JSON"):
        read_json(path)


def test_shapes_are_not_trusted() -> None:
    assert objects([{"a": 1}, 2, None, [{}]]) == [{"a": 1}]
    assert objects({"a": 1}) == objects(None) == objects("x") == []
    assert [text_of(value) for value in ("x", 3, 2.5, "", True, None, [1])] == ["x", "3", "2.5", *[None] * 4]
