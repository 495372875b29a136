import json
import tomllib

import pytest

from limner.data.table import Table

FAST = ("--set", "train.steps=2", "--set", "machine.threads=1", "--set", "machine.workers=1")


@pytest.fixture
def table(limner, photos, tmp_path):
    (photos / "pairs.csv").write_text(
        "filepath,caption\n" + "".join(f"p{i % 4}.png,a ball {i}\n" for i in range(20))
    )
    path = tmp_path / "pairs.lance"
    assert limner("import", photos / "pairs.csv", "--out", path).exit_code == 0
    return path


def test_two_models_come_of_one_start_and_clean_a_table(limner, table, model_folder, tmp_path):
    out = tmp_path / "tuned"
    result = limner("capfilt", "tune", table, "--out", out, *FAST)
    assert result.exit_code == 0, result.stderr
    assert "--model" in result.stderr
    assert "a small model hardly learns by it: --set optim.lr=3e-4" in result.stderr
    captioner, judge = (tomllib.loads((out / f"{p}.toml").read_text()) for p in ("captioner", "filter"))
    assert (captioner["objective"]["itm"], judge["objective"]["lm"]) == (0, 0)
    assert captioner["model"]["start"] == judge["model"]["start"] == str(model_folder)
    assert captioner["optim"]["lr"] == judge["optim"]["lr"] == 1e-5
    assert limner("capfilt", "tune", table, "--out", out, *FAST).exit_code == 2
    assert limner("capfilt", "tune", table, "--out", out, *FAST, "--resume").exit_code == 0
    cleaned = limner("capfilt", table, "--model", out)
    assert cleaned.exit_code == 0, cleaned.stderr
    origin = Table.open(table).column("capfilt")[0]
    assert origin["captioner"] != origin["filter"]


def test_checked_pairs_stand_in_for_a_clean_table(limner, table, tmp_path):
    labels = tmp_path / "labels.csv"
    rows = [row for batch in Table.open(table).batches(["key", "texts"]) for row in batch]
    pairs = [(row["key"], text) for row in rows for text in row["texts"]]
    lines = [f"{key},{text},{int(i >= 4)}\n" for i, (key, text) in enumerate(pairs)]
    labels.write_text("key,text,good\n" + "".join(lines))
    out = tmp_path / "tuned"
    dry = ("capfilt", "tune", table, "--labels", labels, "--out", out, "--dry-run", "--json")
    told = json.loads(limner(*dry).stdout)
    assert (told["pairs"], told["runs"]) == (16, {})
    assert len(told["recipes"]) == 2
    assert not (out / "captioner").exists()
    assert "hardly learns" not in limner(*dry, "--set", "optim.lr=3e-4").stderr
    assert sum(map(len, Table.open(table).column("texts_reviewed"))) == 16
    labels.write_text("key,text,good\n" + "".join(lines[:8]))
    few = limner(*dry)
    assert few.exit_code == 2
    assert "4 pairs to tune on" in few.stderr
