import json

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
    assert len(told["examples"]) == 3


def test_a_dry_run_writes_nothing(limner, photos, tmp_path):
    result = limner("import", photos, "--out", tmp_path / "t.lance", "--dry-run", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["source"] == str(photos)
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


def test_ctrl_c_says_that_no_table_was_made(limner, photos, tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.data.sources.open_picture", interrupted)
    result = limner("import", photos, "--out", tmp_path / "t.lance")
    assert result.exit_code == 130
    assert "was not made" in result.stderr
    assert not (tmp_path / "t.lance").exists()
