"""The import: what comes in, what is refused and why, and that totals balance."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.sources import ImportOptions, import_source, useful_texts
from limner.data.table import SCHEMA, Table
from limner.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures with captions, of which the first three are broken in three ways."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(20):
        path = folder / ("more" if i % 2 else "") / f"{i:02d}.jpg"
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
        path.with_suffix(".txt").write_text(f"picture number {i}\n", encoding="utf-8")
    (folder / "00.jpg").write_bytes((folder / "02.jpg").read_bytes()[:300])
    (folder / "more" / "01.jpg").write_text("not a picture", encoding="utf-8")
    (folder / "02.jpg").write_bytes(b"")
    return folder


LENIENT = ImportOptions(max_bad=1)


def test_good_pictures_come_in_and_bad_ones_go_to_quarantine(photos: Path, tmp_path: Path) -> None:
    result = import_source(photos, tmp_path / "pairs.lance", LENIENT)
    assert result.rows == result.table.num_rows == 17
    assert result.refused == {"truncated": 1, "not_a_picture": 1, "empty": 1}
    assert result.captions == {"kept": 17}
    assert (result.without_text, result.duplicates) == (0, 0)
    assert result.quarantine == tmp_path / "pairs.quarantine.lance"
    quarantine = Table.open(result.quarantine)
    assert {(row["key"], row["reason"]) for rows in quarantine.batches() for row in rows} == {
        ("00.jpg", "truncated"),
        ("02.jpg", "empty"),
        ("more/01.jpg", "not_a_picture"),
    }
    assert quarantine.rows([0], ["origin"])[0]["origin"] == str(photos / "00.jpg")


def test_rows_hold_the_original_bytes_and_what_the_intake_saw(photos: Path, tmp_path: Path) -> None:
    table = import_source(photos, tmp_path / "pairs.lance", LENIENT).table
    assert table.schema.names == SCHEMA.names
    row = table.rows([0])[0]
    assert row["key"] == "04.jpg"
    assert row["image"] == (photos / "04.jpg").read_bytes()
    assert (row["width"], row["height"], row["format"]) == (32, 24, "JPEG")
    assert (len(row["sha256"]), len(row["phash"])) == (64, 16)
    assert row["texts"] == ["picture number 4"]
    assert row["source"] == str(photos)
    assert row["label"] is row["questions"] is row["boxes"] is None
    assert table.versions()[0].note == f"import {photos}"


def test_too_many_refusals_fail_and_leave_nothing(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3 of 20 pictures .* are refused") as caught:
        import_source(photos, tmp_path / "pairs.lance")
    assert "--max-bad 1" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    assert import_source(photos, tmp_path / "pairs.lance", ImportOptions(max_bad=0.15)).rows == 17


def test_nothing_usable_fails_whatever_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match="none of 1 pictures"):
        import_source(tmp_path / "photos", tmp_path / "pairs.lance", LENIENT)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_the_result_does_not_depend_on_threads(photos: Path, tmp_path: Path) -> None:
    first = import_source(photos, tmp_path / "one.lance", LENIENT).table
    second = import_source(photos, tmp_path / "two.lance", LENIENT).table
    assert first.rows(range(17)) == second.rows(range(17))
    assert first.column("key") == sorted(first.column("key"))


def test_progress_is_told(photos: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    import_source(
        photos, tmp_path / "pairs.lance", LENIENT, progress=lambda done, total: told.append((done, total))
    )
    assert told[-1] == (20, 20)


def test_importing_again_needs_overwrite_and_clears_the_quarantine(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.lance"
    import_source(photos, out, LENIENT)
    with pytest.raises(DataError, match="exists already"):
        import_source(photos, out, LENIENT)
    for bad in ("00.jpg", "02.jpg", "more/01.jpg"):
        (photos / bad).unlink()
    result = import_source(photos, out, overwrite=True)
    assert (result.rows, result.quarantine) == (17, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.lance", "photos"]


def test_a_failed_import_keeps_the_table_that_was_there(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.lance"
    import_source(photos, out, LENIENT)
    with pytest.raises(DataError, match="are refused"):
        import_source(photos, out, ImportOptions(max_bad=0), overwrite=True)
    assert Table.open(out).num_rows == 17


def test_ctrl_c_leaves_nothing(photos: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        import_source(photos, tmp_path / "pairs.lance", LENIENT, progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_rows_that_say_nothing_are_counted_not_learnt(photos: Path, tmp_path: Path) -> None:
    rows = [
        ("04.jpg", "a real caption"),
        ("04.jpg", "a real caption"),
        ("more/05.jpg", "nan"),
        ("06.jpg", ""),
        ("more/07.jpg", "07.jpg"),
        ("08.jpg", "IMG_2034"),
        ("more/09.jpg", "NULL"),
        ("none.jpg", "no such file"),
        ("10.jpg", "漢字", "too wide"),
    ]
    path = photos / "pairs.tsv"
    path.write_text("filepath\tcaption\n" + "\n".join("\t".join(row) for row in rows), encoding="utf-8")
    result = import_source(path, tmp_path / "pairs.lance", LENIENT)
    assert result.captions == {"kept": 1, "repeated": 1, "null_word": 2, "empty": 1, "file_name": 2}
    assert result.refused == {"missing": 1, "broken_row": 1}
    assert (result.rows, result.without_text) == (6, 5)
    assert [texts for texts in result.table.column("texts") if texts] == [["a real caption"]]
    assert result.rows + sum(result.refused.values()) == len(rows) - 1  # two rows were one picture


def test_copies_of_a_picture_are_counted(photos: Path, tmp_path: Path) -> None:
    (photos / "copy.jpg").write_bytes((photos / "04.jpg").read_bytes())
    assert import_source(photos, tmp_path / "pairs.lance", LENIENT).duplicates == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "empty"),
        ("  \n", "empty"),
        ("...", "empty"),
        (float("nan"), "null_word"),
        ("None", "null_word"),
        ("n/a", "null_word"),
        ("-", "null_word"),
        ("cat.JPG", "file_name"),
        ("cat", "file_name"),
        ("pets/cat.jpg", "file_name"),
        ("DSC00012.JPG", "file_name"),
        ("IMG 20340101", "file_name"),
        ("a cat", "kept"),
        ("dog", "kept"),
        ("猫", "kept"),
        ("🐈", "kept"),
        ("2034", "kept"),
        (7, "kept"),
        ("photo of 2 cats", "kept"),
        ("\ud800broken", "kept"),
    ],
)
def test_useful_texts(text: object, reason: str) -> None:
    texts, counts = useful_texts([text], "pets/cat.jpg")
    assert counts == {reason: 1}
    assert len(texts) == (reason == "kept")


def test_texts_are_stripped_and_kept_once() -> None:
    texts, counts = useful_texts(["  a cat ", "a cat", "A cat"], "x.jpg")
    assert texts == ["a cat", "A cat"]
    assert counts == {"kept": 2, "repeated": 1}
