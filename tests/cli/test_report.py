import json

import pyarrow as pa

from limner.data.table import Table
from limner.record import Recorder


def test_the_page_of_a_run_is_made_again(limner, tmp_path):
    Recorder(tmp_path / "records.jsonl").write("train", step=1, loss=2.0, terms={"lm": 2.0})
    result = limner("report", tmp_path)
    assert result.exit_code == 0
    page = tmp_path / "report.html"
    assert result.stdout == f"{page}\n"
    assert "Training curve of loss" in page.read_text(encoding="utf-8")
    page.unlink()
    limner("report", tmp_path)
    assert page.exists()


def test_a_table_that_is_not_there_is_refused(limner, tmp_path):
    Recorder(tmp_path / "records.jsonl").write("end", step=1)
    result = limner("report", tmp_path, "--table", tmp_path / "none.lance")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_what_is_not_there_is_refused(limner, tmp_path):
    result = limner("report", tmp_path / "none.lance")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none.lance does not exist" in result.stderr


def test_the_report_of_a_cleaned_table(limner, make_cleaned):
    table = make_cleaned()
    result = limner("report", table.path, "--price-per-hour", "2", "--json")
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    assert values["page"] == str(table.path.with_suffix(".capfilt.html"))
    assert values["ledger"]["rows"] == 24
    assert len(values["acceptance"]["web"]) == 101
    assert "cleaned, cleaned" in table.path.with_suffix(".capfilt.html").read_text(encoding="utf-8")


def test_a_table_that_was_not_cleaned_is_refused(limner, make_cleaned, tmp_path):
    made = make_cleaned()
    rows = made.rows(range(2), ["key", "texts"])
    batch = pa.RecordBatch.from_pylist(rows)
    Table.write(tmp_path / "raw.lance", [batch], batch.schema)
    result = limner("report", tmp_path / "raw.lance")
    assert result.exit_code == 2
    assert "limner capfilt" in result.stderr
