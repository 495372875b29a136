import json
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from limner.data.sinks import ExportOptions, export_table
from limner.data.sinks.folder import NUMBERED, Names, is_safe
from limner.data.sinks.row import OutRow


def row(key, suffix=".jpg", number=0):
    return OutRow(number, key, b"", suffix, [], {}, {})


def names_of(*keys):
    names = Names()
    return [names.of(row(key, number=number)) for number, key in enumerate(keys)]


def test_a_safe_key_is_the_file_name():
    keys = ["a.jpg", "b/c d.jpeg", "e", "f.png", "日本/ほし.JPG", "v1.2/x"]
    assert names_of(*keys) == [*keys[:2], "e.jpg", "f.png.jpg", "日本/ほし.JPG", "v1.2/x.jpg"]


def test_keys_that_are_no_safe_path_are_numbered():
    bad = ["../x", "/x", "a/../b", "a//b", "", ".", "..", "a/.", ".git/x", "c:x", "a\\b", "nul.jpg", "a/con"]
    bad += [
        "a\x00b",
        "a\nb",
        "x./y",
        "x /y",
        "a" * 300,
        "b/" * 600 + "x",
        NUMBERED + "/x",
        "By_Number/x",
        "~\u202e",
    ]
    assert names_of(*bad) == [f"{NUMBERED}/{number:09d}.jpg" for number in range(len(bad))]


def test_names_that_would_meet_are_numbered():
    for first, second in [
        ("A.jpg", "a.jpg"),
        ("x/A.jpg", "X/a.jpg"),
        ("a.jpg", "a"),
        ("a.jpg", "a.jpeg"),
        ("\u00e9.jpg", "e\u0301.jpg"),
        ("ß.jpg", "SS.jpg"),
        ("a.jpg", "a.jpg/b.jpg"),
        ("a.jpg/b.jpg", "a.jpg"),
        ("a.txt/b.jpg", "a.jpg"),
        ("a.jpg", "a.json/b.jpg"),
        ("a.png", "a.png.jpg"),
    ]:
        assert names_of(first, second)[1] == f"{NUMBERED}/000000001.jpg", (first, second)


def test_a_picture_may_stand_beside_a_folder_of_its_name():
    assert names_of("cat.jpg", "cat/1.jpg", "cat/2.jpg") == ["cat.jpg", "cat/1.jpg", "cat/2.jpg"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), unique=True, max_size=20))
@example(["a/b", "a", "a.jpg", "A/B", "../a"])
def test_no_two_files_meet_and_none_is_outside(keys):
    files = set()
    for name in names_of(*keys):
        parts = name.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert not name.startswith(("/", "\\"))
        assert ":" not in name
        stem = name.rpartition(".")[0]
        mine = {unicodedata.normalize("NFC", one).casefold() for one in (name, stem + ".txt", stem + ".json")}
        assert not mine & files
        files |= mine


def test_length_counts_in_bytes():
    assert is_safe("x" * 200)
    assert not is_safe("日" * 70)


def test_texts_stand_one_a_line_and_the_rest_in_json(awkward, tmp_path):
    out = export_table(awkward, tmp_path / "out", "folder").path
    records = [
        json.loads(path.read_text(encoding="utf-8")) for path in out.rglob("*.json") if path.name[0] != "."
    ]
    rows = awkward.rows(range(len(awkward)))
    assert sorted(record["key"] for record in records) == sorted(row["key"] for row in rows)
    by_key = {record["key"]: record for record in records}
    assert all(by_key[row["key"]]["texts"] == row["texts"] for row in rows)
    assert (out / "plain.txt").read_text() == "a red ball\ntwo, with a comma\n"
    assert (out / "dots.in.name/v1.2/picture.webp").read_bytes() == rows[2]["image"]
    assert (out / "dots.in.name/v1.2/picture.txt").read_text() == "first line second line\nanother one\n"


def test_pictures_without_texts_have_no_txt(awkward, tmp_path):
    out = export_table(
        awkward, tmp_path / "out", "folder", ExportOptions(where="array_length(texts) = 0")
    ).path
    assert list(out.rglob("*.txt")) == []


def test_where_texts_are_all_there_is_no_json(make_table, awkward_rows, tmp_path):
    names = ("image", "width", "height", "format", "sha256", "phash")
    some = {name: awkward_rows[0][name] for name in names}
    table = make_table(
        [{**some, "key": "a.jpg", "texts": ["one", "two"]}, {**some, "key": "b.jpg", "texts": ["1\n2"]}]
    )
    out = export_table(table, tmp_path / "out", "folder").path
    assert sorted(path.name for path in out.glob("[!.]*")) == ["a.jpg", "a.txt", "b.jpg", "b.json", "b.txt"]
