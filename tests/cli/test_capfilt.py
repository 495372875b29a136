import json

import pytest

from limner.capfilt.ledger import Ledger
from limner.cli.capfilt import ledger_lines
from limner.data.table import Table
from limner.record import read_records


@pytest.fixture
def table(limner, photos, tmp_path):
    path = tmp_path / "pairs.lance"
    assert limner("import", photos, "--out", path, "--max-bad", 1).exit_code == 0
    return path


def test_a_table_is_cleaned_recorded_and_shown(limner, table, tmp_path):
    result = limner("capfilt", table)
    assert result.exit_code == 0
    assert Table.open(table).has("texts_bootstrapped")
    folder = tmp_path / "pairs.capfilt"
    (record,) = read_records(folder / "records.jsonl", "capfilt")
    assert result.stdout.splitlines() == ledger_lines(Ledger(**record["ledger"]))
    assert "The ledger" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_second_time_says_what_was_reused(limner, table):
    assert "4 pictures in" in limner("capfilt", table).stderr
    assert "in the table already" in limner("capfilt", table).stderr
    assert "only decisions are new" in limner("capfilt", table, "--threshold", 0.9).stderr
    assert "4 pictures in" in limner("capfilt", table, "--threshold", 0.9, "--force").stderr


def test_json_balances(limner, table):
    told = json.loads(limner("capfilt", table, "--json").stdout)
    ledger = told["ledger"]
    assert ledger["rows"] == ledger["kept"] + ledger["replaced"] + ledger["dropped"] == 4
    assert told["version"] == Table.open(table).version


def test_captioner_and_filter_may_differ(limner, table, model_folder, tmp_path):
    out = tmp_path / "elsewhere"
    result = limner("capfilt", table, "--captioner", model_folder, "--filter", model_folder, "--out", out)
    assert result.exit_code == 0
    assert (out / "report.html").exists()


def test_ctrl_c_leaves_the_table_and_the_same_command_goes_on(limner, table, monkeypatch):
    version = Table.open(table).version
    with monkeypatch.context() as patch:

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("limner.capfilt.pipeline.decide", interrupted)
        result = limner("capfilt", table)
    assert result.exit_code == 130
    assert "goes on where this one stopped" in result.stderr
    assert Table.open(table).version == version
    again = limner("capfilt", table)
    assert again.exit_code == 0
    assert "went on where an earlier run stopped: 0 pictures" in again.stderr
