import csv
import json

import pytest

from limner.data.table import Table


@pytest.fixture
def cleaned(limner, photos, tmp_path):
    path = tmp_path / "pairs.lance"
    limner("import", photos, "--out", path, "--max-bad", 1)
    limner("capfilt", path)
    return path


def test_pairs_are_chosen_written_and_may_be_filled_in(limner, cleaned, tmp_path):
    labels = tmp_path / "labels.csv"
    told = json.loads(limner("capfilt", "select", cleaned, "--rows", 3, "--out", labels, "--json").stdout)
    assert len(told["pairs"]) == 3
    assert told["version"] == Table.open(cleaned).version
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["key"], row["text"], row["good"]) for row in rows] == [
        (pair["key"], pair["text"], "") for pair in told["pairs"]
    ]
    result = limner("capfilt", "select", cleaned, "--rows", 3, "--by", "random", "--out", labels)
    assert "3 pairs of 4 rows" in result.stdout
    with labels.open(newline="") as file:
        text = file.read().replace("random,", "random,yes")
    labels.write_text(text)
    assert limner("capfilt", cleaned, "--precision", 0.1, "--labels", labels).exit_code == 0


def test_a_table_that_was_not_cleaned_is_refused(limner, photos, tmp_path):
    path = tmp_path / "pairs.lance"
    limner("import", photos, "--out", path, "--max-bad", 1)
    result = limner("capfilt", "select", path)
    assert result.exit_code == 2
    assert "was not cleaned" in result.stderr
