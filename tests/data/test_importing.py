"""The import: what comes in, what is refused and why, that totals balance, and that nothing is ever lost."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.data import import_rows, importing
from limner.data.importing import ImportOptions, ImportRules, import_source, import_sources
from limner.data.table import SCHEMA, Table
from limner.errors import DataError

LENIENT = ImportOptions(max_bad=1)
RNG = np.random.default_rng(0)


def save(path: Path, side: int = 24, quality: int = 75) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (side, 32, 3), dtype=np.uint8)).save(path, quality=quality)
    return path


def contents(table: Table) -> list[dict[str, object]]:
    return table.rows(range(table.num_rows))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures with captions, of which the first three are broken in three ways."""
    folder = tmp_path / "photos"
    for i in range(20):
        path = save(folder / ("more" if i % 2 else "") / f"{i:02d}.jpg")
        path.with_suffix(".txt").write_text(f"picture number {i}\n", encoding="utf-8")
    (folder / "00.jpg").write_bytes((folder / "02.jpg").read_bytes()[:300])
    (folder / "more" / "01.jpg").write_text("not a picture", encoding="utf-8")
    (folder / "02.jpg").write_bytes(b"")
    return folder


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# ---- a new table


def test_good_pictures_come_in_and_bad_ones_go_to_quarantine(photos: Path, tmp_path: Path) -> None:
    result = import_source(photos, tmp_path / "pairs.lance", LENIENT)
    assert result.rows == result.table.num_rows == 17
    assert result.refused == {"truncated": 1, "not_a_picture": 1, "empty": 1}
    assert result.settled.captions == {"kept": 17}
    assert (result.settled.without_text, result.settled.duplicates.exact) == (0, 0)
    assert result.quarantine == tmp_path / "pairs.quarantine.lance"
    quarantine = Table.open(result.quarantine)
    assert {(row["key"], row["reason"]) for rows in quarantine.batches() for row in rows} == {
        ("00.jpg", "truncated"),
        ("02.jpg", "empty"),
        ("more/01.jpg", "not_a_picture"),
    }
    assert quarantine.rows([0], ["origin"])[0]["origin"] == str(photos / "00.jpg")
    assert hidden(tmp_path) == []


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


def test_what_rows_lack_comes_from_the_options(photos: Path, tmp_path: Path) -> None:
    options = ImportOptions(max_bad=1, source="web", licence="CC0", split="train")
    row = import_source(photos, tmp_path / "pairs.lance", options).table.rows([0])[0]
    assert (row["source"], row["licence"], row["split"]) == ("web", "CC0", "train")


def test_too_many_refusals_fail_and_what_was_looked_at_is_not_lost(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.lance"
    with pytest.raises(DataError, match=r"3 of 20 pictures .* are refused") as caught:
        import_source(photos, out)
    assert "--max-bad 1" in str(caught.value)
    assert not out.exists()
    assert not (tmp_path / "pairs.quarantine.lance").exists()
    result = import_source(photos, out, ImportOptions(max_bad=0.15))
    assert (result.rows, result.looked_at) == (17, 0)
    assert hidden(tmp_path) == []


def test_a_hopeless_import_stops_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_SURE", 50)
    for i in range(100):
        path = tmp_path / "photos" / f"{i:03}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_text("no picture")
    with pytest.raises(DataError, match=r"6 of 6 pictures .* so far"):
        import_source(tmp_path / "photos", tmp_path / "pairs.lance")


def test_nothing_usable_fails_whatever_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("text", encoding="utf-8")
    with pytest.raises(DataError, match="none of 1 pictures"):
        import_source(tmp_path / "photos", tmp_path / "pairs.lance", LENIENT)
    assert not (tmp_path / "pairs.lance").exists()


def test_the_result_does_not_depend_on_threads(photos: Path, tmp_path: Path) -> None:
    first = import_source(photos, tmp_path / "one.lance", LENIENT).table
    second = import_source(photos, tmp_path / "two.lance", LENIENT).table
    assert contents(first) == contents(second)
    assert first.column("key") == sorted(first.column("key"))


def test_progress_is_told(photos: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    import_source(
        photos, tmp_path / "p.lance", LENIENT, progress=lambda done, all_: told.append((done, all_))
    )
    assert told[-1] == (20, 20)


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
    captions = {"kept": 1, "repeated": 1, "null_word": 2, "empty": 1, "file_name": 2}
    assert result.settled.captions == captions
    assert result.settled.lost["file_name"] == [("07.jpg", 1), ("IMG_2034", 1)]
    assert result.refused == {"missing": 1, "broken_row": 1}
    assert (result.rows, result.settled.without_text) == (6, 5)
    assert [texts for texts in result.table.column("texts") if texts] == [["a real caption"]]
    assert result.rows + sum(result.refused.values()) == len(rows) - 1  # two rows were one picture


def test_captions_on_many_pictures_are_told(photos: Path, tmp_path: Path) -> None:
    for path in photos.rglob("*.txt"):
        path.write_text("a nice thing")
    assert import_source(photos, tmp_path / "p.lance", LENIENT).settled.shared == (17, [("a nice thing", 17)])


# ---- a table that exists


def test_nothing_changed_makes_no_version(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.lance"
    first = import_source(photos, out, LENIENT)
    again = import_source(photos, out, LENIENT)
    assert (first.version, again.version) == (1, None)
    assert again.settled.counts == {"added": 0, "updated": 0, "unchanged": 17, "missing": 0}
    assert contents(again.table) == contents(first.table)


def test_unchanged_pictures_are_not_decoded(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pairs.lance"
    import_source(photos, out, LENIENT)
    opened: list[object] = []

    def watched(source: object, *rest: object) -> object:
        opened.append(source)
        return intake(source, *rest)

    intake = import_rows.identify
    monkeypatch.setattr("limner.data.import_rows.identify", watched)
    import_source(photos, out, LENIENT)
    assert len(opened) == 3  # the refused are tried again


def test_an_import_adds_what_is_new_and_updates_what_changed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.lance"
    before = import_source(photos, out, LENIENT).table
    save(photos / "04.jpg", side=40)
    (photos / "06.txt").write_text("another caption")
    save(photos / "zz.jpg")
    (photos / "08.jpg").unlink()
    result = import_source(photos, out, LENIENT)
    assert result.settled.counts == {"added": 1, "updated": 2, "unchanged": 14, "missing": 1}
    rows = {row["key"]: row for row in contents(result.table)}
    old = {row["key"]: row for row in contents(before)}
    assert rows["04.jpg"]["height"] == 40
    assert rows["06.jpg"]["texts"] == ["another caption"]
    assert set(rows) == {*old, "zz.jpg"}
    assert all(rows[key] == old[key] for key in set(old) - {"04.jpg", "06.jpg"})
    assert result.settled.gone == ["08.jpg"]


def test_what_an_import_did_stays_with_its_version(photos: Path, tmp_path: Path) -> None:
    result = import_source(photos, tmp_path / "pairs.lance", LENIENT)
    record = result.table.record()
    assert record is not None
    assert (record["added"], record["refused"]) == (17, {"truncated": 1, "not_a_picture": 1, "empty": 1})
    assert record["options"] == {"max_bad": 1.0}
    assert record["sources"] == [str(photos)]
    assert record["pictures_per_s"] > 0


def test_columns_of_unchanged_rows_stay(photos: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    out = tmp_path / "pairs.lance"
    table = import_source(photos, out, LENIENT).table
    table.add_columns(pa.table({"itm_score": [float(i) for i in range(17)]}), "scores")
    (photos / "06.txt").write_text("another caption")
    result = import_source(photos, out, LENIENT)
    scores = dict(zip(result.table.column("key"), result.table.column("itm_score"), strict=True))
    assert scores["04.jpg"] == 0
    assert scores["06.jpg"] is None
    assert sum(score is None for score in scores.values()) == 1


def test_prune_deletes_what_is_gone_from_this_source_only(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.lance"
    other = save(tmp_path / "other" / "08.jpg").parent
    import_sources([photos, other], out, LENIENT)
    (photos / "08.jpg").unlink()
    (photos / "10.jpg").unlink()
    result = import_source(photos, out, LENIENT, ImportRules(prune=True))
    assert (result.pruned, result.table.num_rows) == (2, 16)
    assert "other/08.jpg" in result.table.column("key")


def test_overwrite_makes_the_table_anew(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.lance"
    import_source(photos, out, LENIENT)
    for bad in ("00.jpg", "02.jpg", "more/01.jpg", "04.jpg"):
        (photos / bad).unlink()
    result = import_source(photos, out, overwrite=True)
    assert (result.rows, result.table.num_rows, result.quarantine) == (16, 16, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.lance", "photos"]


def test_a_failed_import_keeps_the_table_that_was_there(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.lance"
    import_source(photos, out, LENIENT)
    with pytest.raises(DataError, match="are refused"):
        import_source(photos, out, ImportOptions(max_bad=0), overwrite=True)
    assert Table.open(out).num_rows == 17
    assert Table.open(out).version == 1


def test_a_folder_that_is_no_table_is_not_touched(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a limner table"):
        import_source(photos, photos, LENIENT)


# ---- several sources


def test_the_same_key_of_another_source_gets_the_name_of_its_source(photos: Path, tmp_path: Path) -> None:
    other, third = tmp_path / "other", tmp_path / "deep" / "other"
    for folder in (other, third):
        save(folder / "04.jpg")
    out = tmp_path / "pairs.lance"
    table = import_sources([photos, other, third], out, LENIENT).table
    assert table.column("key")[-2:] == ["other/04.jpg", "other-2/04.jpg"]
    assert import_sources([third, other], out, LENIENT).settled.counts["unchanged"] == 2
    (photos / "04.jpg").unlink()
    import_source(photos, out, LENIENT, ImportRules(prune=True))
    assert import_source(other, out, LENIENT).version is None


# ---- quarantine over several imports


def test_a_row_that_becomes_good_leaves_the_quarantine(photos: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "pairs.lance", tmp_path / "other"
    save(other / "a.jpg")
    (other / "b.jpg").write_text("no picture")
    import_source(photos, out, LENIENT)
    result = import_source(other, out, LENIENT)
    assert result.quarantine is not None
    assert Table.open(result.quarantine).num_rows == 4
    save(photos / "00.jpg")
    import_source(photos, out, LENIENT)
    assert sorted(Table.open(result.quarantine).column("key")) == ["02.jpg", "b.jpg", "more/01.jpg"]


# ---- stopped, killed, full


def test_ctrl_c_loses_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_IN_FLIGHT", 4)

    def interrupt(done: int, total: int | None) -> None:
        if done == 8:
            os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "pairs.lance"
    with pytest.raises(KeyboardInterrupt):
        import_source(photos, out, LENIENT, progress=interrupt)
    assert not out.exists()
    assert hidden(tmp_path) == [".pairs.lance.importing"]
    result = import_source(photos, out, LENIENT)
    assert result.looked_at == 12
    assert hidden(tmp_path) == []
    assert contents(result.table) == contents(import_source(photos, tmp_path / "two.lance", LENIENT).table)


CHILD = textwrap.dedent(
    """
    import os, signal, sys
    from limner.data import import_rows, importing
    from limner.data.importing import ImportOptions, import_source
    importing.PART_ITEMS, importing._IN_FLIGHT = 4, 4
    limit = int(sys.argv[3])
    def die(done, total):
        if done - done % 4 and limit and done >= limit: os.kill(os.getpid(), signal.SIGKILL)
    import_source(sys.argv[1], sys.argv[2], ImportOptions(max_bad=1), progress=die)
    """
)


def child(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, *map(str, arguments)])


def test_a_killed_import_goes_on_where_it_stopped(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs.lance"
    assert child(photos, out, 8).wait() == -signal.SIGKILL
    assert not out.exists()
    result = import_source(photos, out, LENIENT)
    assert 0 < result.looked_at <= 16
    assert contents(result.table) == contents(import_source(photos, tmp_path / "two.lance", LENIENT).table)
    assert hidden(tmp_path) == []


@pytest.mark.slow
def test_killed_in_a_loop_it_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "pairs.lance"
    for i in range(400):
        save(photos / f"{i:03}.jpg").with_suffix(".txt").write_text(f"picture {i}")
    (photos / "007.jpg").write_bytes(b"")
    rng, kills = np.random.default_rng(1), 0
    while True:
        process = child(photos, out, 0)
        try:
            process.wait(timeout=float(rng.uniform(0.5, 1.5)) * (1 + kills / 5))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            assert kills < 60
    assert kills > 0
    once = import_source(photos, tmp_path / "once.lance", LENIENT)
    assert contents(Table.open(out)) == contents(once.table)
    assert len(Table.open(out).versions()) == 1
    assert Table.open(tmp_path / "pairs.quarantine.lance").column("key") == ["007.jpg"]
    assert hidden(tmp_path) == []


def test_a_full_disk_is_told_and_the_work_stays(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "pairs.lance"
    with monkeypatch.context() as patch:
        patch.setattr("limner.data.import_staging.os.replace", full)
        with pytest.raises(DataError, match="No space left on device"):
            import_source(photos, out, LENIENT)
    assert import_source(photos, out, LENIENT).rows == 17


def test_a_place_that_cannot_be_written_is_told(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        import_source(photos, tmp_path / "file" / "pairs.lance", LENIENT)


# ---- duplicates and splits


def test_copies_are_counted_with_examples(photos: Path, tmp_path: Path) -> None:
    (photos / "copy.jpg").write_bytes((photos / "04.jpg").read_bytes())
    found = import_source(photos, tmp_path / "pairs.lance", LENIENT).settled.duplicates
    assert (found.exact, found.dropped) == (1, ())
    assert found.examples == (("04.jpg", "copy.jpg"),)


def test_copies_are_dropped_when_asked_and_stay_so(photos: Path, tmp_path: Path) -> None:
    (photos / "copy.jpg").write_bytes((photos / "04.jpg").read_bytes())
    out, rules = tmp_path / "pairs.lance", ImportRules(drop_duplicates="exact")
    result = import_source(photos, out, LENIENT, rules)
    assert result.settled.duplicates.dropped == ("copy.jpg",)
    assert "copy.jpg" not in result.table.column("key")
    assert import_source(photos, out, LENIENT, rules).version is None


def test_pictures_that_look_alike_are_found(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("limner.data.duplicates")
    smooth = np.random.default_rng(5).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(smooth).resize((96, 72), Image.Resampling.BICUBIC)
    image.save(photos / "x1.jpg", quality=95)
    image.resize((64, 48)).save(photos / "x2.jpg", quality=80)
    rules = ImportRules(drop_duplicates="near")
    found = import_source(photos, tmp_path / "pairs.lance", LENIENT, rules).settled.duplicates
    assert (found.exact, found.near, found.dropped) == (0, 1, ("x2.jpg",))


def test_drawn_splits_keep_copies_together_and_do_not_move(photos: Path, tmp_path: Path) -> None:
    for i in range(4, 16, 2):
        (photos / f"copy{i}.jpg").write_bytes((photos / f"{i:02}.jpg").read_bytes())
    out, rules = tmp_path / "pairs.lance", ImportRules(splits={"train": 0.5, "test": 0.5})
    result = import_source(photos, out, LENIENT, rules)
    first = dict(zip(result.table.column("key"), result.table.column("split"), strict=True))
    assert set(first.values()) == {"train", "test"}
    assert all(first[f"copy{i}.jpg"] == first[f"{i:02}.jpg"] for i in range(4, 16, 2))
    assert result.settled.leaks == []
    assert import_source(photos, out, LENIENT).version is None
    (photos / "late.jpg").write_bytes((photos / "18.jpg").read_bytes())
    after = import_source(photos, out, LENIENT, rules).table
    later = dict(zip(after.column("key"), after.column("split"), strict=True))
    assert later == {**first, "late.jpg": first["18.jpg"]}


def test_leaks_between_the_splits_a_source_brings_are_named(photos: Path, tmp_path: Path) -> None:
    (photos / "copy.jpg").write_bytes((photos / "04.jpg").read_bytes())
    rows = [("04.jpg", "train"), ("06.jpg", "train"), ("copy.jpg", "test")]
    lines = [json.dumps({"image": name, "caption": f"see {name}", "split": split}) for name, split in rows]
    (photos / "rows.jsonl").write_text("\n".join(lines))
    options = ImportOptions(split_column="split")
    result = import_source(photos / "rows.jsonl", tmp_path / "pairs.lance", options)
    (leak,) = result.settled.leaks
    assert sorted(leak["keys"]) == ["04.jpg", "copy.jpg"]
    assert sorted(leak["splits"]) == ["test", "train"]


# ---- anything at all

cells = (
    st.none() | st.text(max_size=8) | st.floats() | st.integers() | st.lists(st.text(max_size=4), max_size=3)
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["04.jpg", "06.jpg", "none.jpg"]), cells), min_size=1, max_size=5))
def test_importing_generated_rows_twice_is_importing_once(
    photos: Path, tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, object]]
) -> None:
    lines = [json.dumps({"image": name, "caption": cell}) for name, cell in [*rows, ("08.jpg", "a cat")]]
    (photos / "rows.jsonl").write_text("\n".join(lines))
    out = tmp_path_factory.mktemp("generated") / "pairs.lance"
    first = import_source(photos / "rows.jsonl", out, LENIENT)
    again = import_source(photos / "rows.jsonl", out, LENIENT)
    assert again.version is None
    assert contents(first.table) == contents(again.table)
    texts = {text for row in contents(first.table) for text in row["texts"] or []}
    assert not {"nan", "none", "null", "inf"} & {text.lower() for text in texts} - {"inf"}
    strings = {
        c for _, cell in rows for c in (cell if isinstance(cell, list) else [cell]) if isinstance(c, str)
    }
    assert texts <= {text.strip() for text in strings} | {"a cat"}


def domains(place: Path, *, cartoon: str = "cartoon") -> Path:
    """Four pictures whose rows say more than a pairs table has columns for."""
    pictures = [place / f"{number}.jpg" for number in range(4)]
    for number, picture in enumerate(pictures):
        if not picture.exists():
            save(picture, quality=60 + number)
    said = ["photo", cartoon, "", "photo"]
    lines = [f"{picture.name},cat,{said[number]},{number}" for number, picture in enumerate(pictures)]
    path = place / "rows.csv"
    path.write_text("\n".join(["image,label,domain,year", *lines]), encoding="utf-8")
    return path


def test_further_columns_come_along_where_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    options = ImportOptions(keep=("domain", "year"))
    table = import_source(domains(tmp_path / "set"), tmp_path / "out.lance", options).table
    assert table.column_names == [*SCHEMA.names, "domain", "year"]
    assert table.column("domain") == ["photo", "cartoon", None, "photo"]
    assert table.column("year") == list("0123")
    assert table.count("domain = 'photo'") == 2
    again = import_source(domains(tmp_path / "set"), tmp_path / "out.lance", options)
    assert again.version is None
    changed = import_source(domains(tmp_path / "set", cartoon="sketch"), tmp_path / "out.lance", options)
    assert changed.settled.counts["updated"] == 1
    assert sorted(map(str, changed.table.column("domain"))) == ["None", "photo", "photo", "sketch"]
    copied = import_source(tmp_path / "out.lance", tmp_path / "copy.lance", ImportOptions(keep=("domain",)))
    assert copied.table.column("domain") == changed.table.column("domain")


def test_further_columns_are_added_to_a_table_that_has_none(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    rows, out = domains(tmp_path / "set"), tmp_path / "out.lance"
    import_source(rows, out)
    table = import_source(rows, out, ImportOptions(keep=("domain",))).table
    assert dict(zip(table.column("key"), table.column("domain"), strict=True)) == {
        "0.jpg": "photo",
        "1.jpg": "cartoon",
        "2.jpg": None,
        "3.jpg": "photo",
    }


def test_a_further_column_must_be_there_and_hold_text(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    rows, out = domains(tmp_path / "set"), tmp_path / "out.lance"
    with pytest.raises(DataError, match="no column 'place'"):
        import_source(rows, out, ImportOptions(keep=("place",)))
    with pytest.raises(DataError, match="every table has a column"):
        import_source(rows, out, ImportOptions(keep=("label",)))
    with pytest.raises(DataError, match="which has no further columns"):
        import_source(photos, out, ImportOptions(keep=("domain",)))
    table = import_source(rows, out).table
    table.add_columns(pa.table({"year": [1, 2, 3, 4]}), "numbers")
    with pytest.raises(DataError, match="holds no text"):
        import_source(rows, out, ImportOptions(keep=("year",)))
