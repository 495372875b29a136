import json

import pytest

from limner.data.sinks import ExportOptions, export_table
from limner.data.sinks.imagefolder import split_folders


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_splits_go_into_the_folders_datasets_knows():
    assert split_folders(["train", "val", "test"]) == {"train": "train", "val": "validation", "test": "test"}
    assert split_folders([None]) == {None: ""}
    assert split_folders([]) == {}


def test_other_splits_get_folders_of_their_own_and_never_meet():
    found = split_folders(["a b", "a/b", "../x", None, "Train", "unsplit", "…"])
    assert found == {
        "a b": "a_b",
        "a/b": "a_b_2",
        "../x": "_x",
        None: "unsplit",
        "Train": "train",
        "unsplit": "unsplit_2",
        "…": "__2",
    }


def test_each_line_names_a_file_and_has_the_row(awkward, tmp_path):
    out = export_table(awkward, tmp_path / "out", "imagefolder").path
    places = {"train": "train", "val": "validation", "test": "test", "restval": "restval", None: "unsplit"}
    rows = {row["key"]: row for row in awkward.rows(range(len(awkward)))}
    for split, place in places.items():
        for line in lines(out / place / "metadata.jsonl"):
            row = rows.pop(line["key"])
            assert (out / place / line["file_name"]).read_bytes() == row["image"]
            assert (line["split"] or None) == split == row["split"]
            assert line["text"] == (row["texts"][0] if row["texts"] else "")
            assert (line["licence"] or None) == row["licence"]
            assert [line[name] for name in ("texts", "boxes", "questions")] == [
                row[name] for name in ("texts", "boxes", "questions")
            ]
    assert rows == {}


def test_a_card_is_written_only_where_datasets_would_not_look(awkward, jpegs, tmp_path):
    plain = ExportOptions(where="split in ('train', 'val')")
    assert not (export_table(jpegs, tmp_path / "a", "imagefolder", plain).path / "README.md").exists()
    card = (export_table(awkward, tmp_path / "b", "imagefolder").path / "README.md").read_text()
    assert '- split: restval\n    path: "restval/*"' in card


def test_rows_without_splits_lie_at_the_top(jpegs, tmp_path):
    out = export_table(jpegs, tmp_path / "out", "imagefolder", ExportOptions(where="split is null")).path
    assert sorted(path.name for path in out.glob("[!.]*")) == [
        "000000000.jpg",
        "000000001.jpg",
        "metadata.jsonl",
    ]


@pytest.mark.peer
@pytest.mark.slow
def test_datasets_reads_every_split(awkward, tmp_path, datasets):
    out = export_table(awkward, tmp_path / "out", "imagefolder").path
    read = datasets.load_dataset(str(out)).cast_column("image", datasets.Image(decode=False))
    assert set(read) == {"train", "validation", "test", "restval", "unsplit"}
    rows = {row["key"]: row for row in awkward.rows(range(len(awkward)))}
    for row in (row for split in read.values() for row in split):
        wanted = rows.pop(row["key"])
        with open(row["image"]["path"], "rb") as file:
            assert file.read() == wanted["image"]
        assert row["texts"] == wanted["texts"]
        assert row["source"] == wanted["source"]
    assert rows == {}


@pytest.mark.peer
@pytest.mark.slow
def test_datasets_reads_the_three_usual_splits_as_imagefolder(jpegs, tmp_path, datasets):
    where = ExportOptions(where="split in ('train', 'val', 'test')")
    out = export_table(jpegs, tmp_path / "out", "imagefolder", where).path
    read = datasets.load_dataset("imagefolder", data_dir=str(out))
    assert set(read) == {"train", "validation", "test"}
    assert read["train"][0]["image"].size == (24, 16)
    assert read["train"][0]["text"] == "a red ball"
