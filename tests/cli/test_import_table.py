import json

import pytest
from PIL import Image

from limner.data.table import Table


def test_a_guess_comes_before_the_work_and_counts_after(limner, photos, tmp_path):
    out = tmp_path / "pairs.lance"
    result = limner("import", photos, "--out", out, "--max-bad", 0.5)
    assert result.exit_code == 0
    assert "the first rows, as they will be read:" in result.stderr
    assert "p0.png: (no text)" in result.stderr
    assert f"{out}: 4 pictures" in result.stdout
    for reason in ("truncated", "empty", "not_a_picture"):
        assert f"1 {reason}" in result.stdout
    assert "pairs.quarantine.lance" in result.stdout
    assert f"limner capfilt {out}" in result.stderr
    assert Table.open(out).num_rows == 4


def test_json_is_the_whole_story(limner, photos, tmp_path):
    result = limner("import", photos, "--out", tmp_path / "t.lance", "--max-bad", 0.5, "--json")
    told = json.loads(result.stdout)
    assert told["rows"] == 4
    assert told["captions"]["kept"] == 1
    assert sum(told["refused"].values()) == 3
    assert len(told["sources"][0]["examples"]) == 3
    assert (told["version"], told["added"], told["unchanged"]) == (1, 4, 0)
    assert told["pictures_per_s"] > 0


def test_a_dry_run_writes_nothing(limner, photos, tmp_path):
    result = limner("import", photos, "--out", tmp_path / "t.lance", "--dry-run", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["sources"][0]["source"] == str(photos)
    assert not (tmp_path / "t.lance").exists()


def test_too_many_broken_pictures_fail_and_leave_nothing(limner, photos, tmp_path):
    result = limner("import", photos, "--out", tmp_path / "t.lance")
    assert result.exit_code == 2
    assert "--max-bad" in result.stderr
    assert not (tmp_path / "t.lance").exists()


def test_columns_and_separator_are_as_asked(limner, photos, tmp_path):
    (photos / "pairs.csv").write_text("words;where\na cat;p0.png\na dog;p1.png\n")
    result = limner(
        *("import", photos / "pairs.csv", "--out", tmp_path / "t.lance", "--separator", ";"),
        *("--caption-column", "words", "--picture-column", "where"),
    )
    assert result.exit_code == 0
    assert Table.open(tmp_path / "t.lance").column("texts") == [["a cat"], ["a dog"]]


def test_ctrl_c_says_that_the_same_command_goes_on(limner, photos, tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.data.import_rows.identify", interrupted)
    result = limner("import", photos, "--out", tmp_path / "t.lance")
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr
    assert not (tmp_path / "t.lance").exists()


def test_a_second_import_says_what_changed(limner, photos, tmp_path):
    arguments = ("import", photos, "--out", tmp_path / "t.lance", "--max-bad", 1)
    limner(*arguments)
    assert "nothing has changed: no new version" in limner(*arguments).stdout
    (photos / "p0.png").unlink()
    (photos / "p1.txt").write_text("two fish")
    kept = limner(*arguments)
    assert "version 2: 0 added, 1 updated, 2 unchanged" in kept.stdout
    assert "no more in the source: 1 kept; --prune deletes them" in kept.stdout
    assert "no more in the source: 1 deleted" in limner(*arguments, "--prune").stdout
    assert Table.open(tmp_path / "t.lance").num_rows == 3


def test_several_sources_make_one_table(limner, photos, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "p0.png").write_bytes((photos / "p0.png").read_bytes())
    result = limner("import", photos, other, "--out", tmp_path / "t.lance", "--max-bad", 1)
    assert "version 1: 5 added" in result.stdout
    assert "1 exact" in result.stdout
    assert "p0.png = other/p0.png" in result.stdout


def test_captions_lost_are_shown_with_examples(limner, photos, tmp_path):
    for name in ("p0", "p2", "p3"):
        (photos / f"{name}.txt").write_text("NULL\na photo")
    result = limner("import", photos, "--out", tmp_path / "t.lance", "--max-bad", 1)
    assert "captions: 4 kept, 3 null_word" in result.stdout
    assert 'null_word: "NULL" (3 times)' in result.stdout
    assert 'captions on three pictures or more: 3; "a photo" (3 times)' in result.stdout


def test_another_command_needs_restart(limner, photos, tmp_path):
    out = tmp_path / "t.lance"
    assert limner("import", photos, "--out", out).exit_code == 2
    refused = limner("import", photos, "--out", out, "--licence", "CC0", "--max-bad", 1)
    assert refused.exit_code == 2
    assert "--restart" in refused.stderr
    again = limner("import", photos, "--out", out, "--licence", "CC0", "--max-bad", 1, "--restart")
    assert again.exit_code == 0
    assert set(Table.open(out).column("licence")) == {"CC0"}


def test_limits_and_splits_are_as_asked(limner, photos, tmp_path):
    out = tmp_path / "t.lance"
    small = limner("import", photos, "--out", out, "--max-pixels", 100)
    assert "5 too_many_pixels" in small.stderr
    splits = limner("import", photos, "--out", out, "--max-bad", 1, "--splits", "a=1", "--restart")
    assert splits.exit_code == 0
    assert set(Table.open(out).column("split")) == {"a"}


@pytest.mark.parametrize("splits", ["a=0.5", "a", "a=x", "a=0.5,=0.5", "a=1.5,b=-0.5"])
def test_shares_that_are_no_shares_are_refused(limner, photos, tmp_path, splits):
    result = limner("import", photos, "--out", tmp_path / "t.lance", "--splits", splits)
    assert result.exit_code == 2
    assert "1 in all" in result.stderr


def test_a_further_column_is_kept_when_named(limner, tmp_path):
    Image.new("RGB", (20, 20), "red").save(tmp_path / "a.png")
    (tmp_path / "rows.csv").write_text("image,domain\na.png,sketch\n")
    done = limner("import", tmp_path / "rows.csv", "--out", tmp_path / "t.lance", "--keep", "domain")
    assert "kept as they are: 'domain'" in done.stderr
    assert Table.open(tmp_path / "t.lance").column("domain") == ["sketch"]
