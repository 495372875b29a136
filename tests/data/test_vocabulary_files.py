import gzip
from pathlib import Path

import pytest

from limner.data import vocabulary_files
from limner.data.vocabulary_files import read_json, read_text
from limner.errors import DataError


def test_plain_and_packed_text_are_the_same(tmp_path: Path):
    (tmp_path / "plain").write_text("Zürich\n", encoding="utf-8")
    (tmp_path / "packed").write_bytes(gzip.compress("Zürich\n".encode()))
    assert read_text(tmp_path / "plain") == read_text(tmp_path / "packed") == "Zürich\n"


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", gzip.compress(b"x" * 500, mtime=0)[:-9], b"\x1f\x8b123"])
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes):
    (tmp_path / "vocab").write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        read_text(tmp_path / "vocab")


def test_a_small_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vocabulary_files, "LARGEST", 1000)
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes(100_000)))
    with pytest.raises(DataError, match="more than 1,000 bytes"):
        read_text(tmp_path / "bomb")


@pytest.mark.parametrize(("text", "said"), [("[1]", "no JSON object"), ("{", "is no JSON")])
def test_json_that_is_no_object_is_refused(tmp_path: Path, text: str, said: str):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=said):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "x.json") == {"a": 1}
