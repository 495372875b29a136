"""Files of rows: separators, encodings, headers and broken lines."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limner.data.sources.rowfiles import head, open_rowfile
from limner.errors import DataError


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_separators_are_sniffed(tmp_path: Path, separator: str) -> None:
    lines = [["filepath", "caption"], ["a.jpg", "a dog, a cat; two"], ["b.jpg", "it said | nothing"]]
    quoted = "\n".join(separator.join(f'"{value}"' for value in line) for line in lines)
    file = open_rowfile(write(tmp_path / "pairs.csv", quoted))
    assert file.columns == ["filepath", "caption"]
    assert head(file, 5)[0] == {"filepath": "a.jpg", "caption": "a dog, a cat; two"}
    assert any(repr(separator) in line for line in file.guessed)


def test_a_tab_file_full_of_commas_is_still_a_tab_file(tmp_path: Path) -> None:
    text = "filepath\ttitle\n" + "".join(f"{i}.jpg\tone, two, three, {i}\n" for i in range(20))
    file = open_rowfile(write(tmp_path / "pairs.csv", text))
    assert file.columns == ["filepath", "title"]
    assert len(head(file, 100)) == 20


def test_one_column_is_enough(tmp_path: Path) -> None:
    file = open_rowfile(write(tmp_path / "pairs.csv", "filepath\na.jpg\nb.jpg\n"))
    assert head(file, 5) == [{"filepath": "a.jpg"}, {"filepath": "b.jpg"}]


def test_a_separator_can_be_given(tmp_path: Path) -> None:
    file = open_rowfile(write(tmp_path / "pairs.csv", "a^b\n1^2\n"), separator="^")
    assert head(file, 5) == [{"a": "1", "b": "2"}]


def test_quoted_line_breaks_stay_in_their_field(tmp_path: Path) -> None:
    file = open_rowfile(write(tmp_path / "pairs.csv", 'image,text\na.jpg,"two\nlines"\nb.jpg,"say ""hi"""\n'))
    assert [row["text"] for row in head(file, 5)] == ["two\nlines", 'say "hi"']


def test_a_file_without_header_says_so(tmp_path: Path) -> None:
    file = open_rowfile(write(tmp_path / "pairs.tsv", "a.jpg\ta dog\nb.jpg\ta cat\n"))
    assert file.columns == ["column0", "column1"]
    assert len(head(file, 5)) == 2
    assert any("no header" in line for line in file.guessed)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    file = open_rowfile(write(tmp_path / "pairs.csv", "image,text\na.jpg,café à gauche\n", encoding))
    assert file.columns == ["image", "text"]
    assert head(file, 5)[0]["text"] == "café à gauche"
    assert any(encoding in line for line in file.guessed) == (encoding in ("latin-1", "utf-16"))


def test_an_encoding_can_be_given_and_is_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.csv", "image,text\na.jpg,щука\n", "cp1251")
    assert head(open_rowfile(path, encoding="cp1251"), 1)[0]["text"] == "щука"
    with pytest.raises(DataError, match="cannot be read as utf-8"):
        open_rowfile(path, encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as klingon"):
        open_rowfile(path, encoding="klingon")


def test_rows_of_another_width_are_broken_not_fatal(tmp_path: Path) -> None:
    file = open_rowfile(write(tmp_path / "pairs.csv", "image,text\na.jpg,x\nb.jpg\n\nc.jpg,y,z\nd.jpg,w\n"))
    rows = list(file.rows(["image"]))
    assert [row and row["image"] for _, row in rows] == ["a.jpg", None, None, "d.jpg"]
    assert [place for place, row in rows if row is None] == ["pairs.csv line 3", "pairs.csv line 5"]


def test_json_lines(tmp_path: Path) -> None:
    lines = ['{"image": "a.jpg", "caption": "x"}', "not json", "", '["a list"]', '{"image": "b.jpg"}']
    file = open_rowfile(write(tmp_path / "pairs.jsonl", "\n".join(lines)))
    assert file.columns == ["image", "caption"]
    assert list(file.rows(["caption", "image"])) == [
        ("pairs.jsonl line 1", {"caption": "x", "image": "a.jpg"}),
        ("pairs.jsonl line 2", None),
        ("pairs.jsonl line 4", None),
        ("pairs.jsonl line 5", {"caption": None, "image": "b.jpg"}),
    ]


def test_deeply_nested_json_is_one_broken_row(tmp_path: Path) -> None:
    lines = [json.dumps({"image": "a.jpg"}), "[" * 100_000]
    file = open_rowfile(write(tmp_path / "pairs.jsonl", "\n".join(lines)))
    assert [row is None for _, row in file.rows(["image"])] == [False, True]


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"image": [b"x", b"y"], "caption": [["a", "b"], None], "n": [1, 2]}), path)
    file = open_rowfile(path)
    assert file.num_rows == 2
    assert list(file.rows(["caption"])) == [
        ("pairs.parquet row 1", {"caption": ["a", "b"]}),
        ("pairs.parquet row 2", {"caption": None}),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("pairs.csv", "", "is empty"),
        ("pairs.csv", "\nimage,text\n", "begins with an empty line"),
        ("pairs.csv", "image,text,image\na,b,c\n", "names a column twice: 'image'"),
        ("pairs.jsonl", "nothing here\n", "holds no JSON objects"),
        ("pairs.parquet", "not parquet", "is no Parquet file"),
    ],
)
def test_files_that_are_not_what_they_say(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_rowfile(write(tmp_path / name, text))
