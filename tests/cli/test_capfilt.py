import json
import os
import shutil
import subprocess
import sys

import pytest

from limner.capfilt.decision import DECIDED
from limner.capfilt.ledger import Ledger
from limner.cli.capfilt import ledger_lines, open_models
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


def test_one_model_may_do_both_and_a_tuned_folder_holds_two(limner, table, model_folder, tmp_path):
    writer, reader = open_models(str(model_folder), None, None, False)
    assert writer is reader
    for part in ("captioner", "filter"):
        shutil.copytree(model_folder, tmp_path / "tuned" / part / "model")
    writer, reader = open_models(str(tmp_path / "tuned"), None, None, False)
    assert (writer.path.parent.name, reader.path.parent.name) == ("captioner", "filter")
    writer, reader = open_models(str(tmp_path / "tuned"), None, None, True)
    assert writer is reader
    assert writer.path.parent.name == "captioner"
    assert limner("capfilt", table, "--captioner", model_folder, "--share").exit_code == 0
    two = limner("capfilt", table, "--share", "--filter", tmp_path / "tuned" / "filter" / "model")
    assert two.exit_code == 2
    assert "leave out --filter" in two.stderr


def test_both_decodings_thresholds_and_cost_by_option(limner, table, tmp_path):
    labels = tmp_path / "labels.csv"
    told = json.loads(
        limner(
            *("capfilt", table, "--decoding", "both", "--captions", 2, "--price-per-hour", 3.6, "--json")
        ).stdout
    )
    assert told["ledger"]["synthetic"]["total"] == 12
    assert told["cost"]["cost_per_million"] == pytest.approx(
        3.6 * told["cost"]["hours_per_million"], abs=0.05
    )
    (cost,) = read_records(table.with_suffix(".capfilt") / "records.jsonl", "cost")
    assert 0.01 < cost["peak_rss_gb"] < 100
    rows = [row for batch in Table.open(table).batches(["key", "synthetic"]) for row in batch]
    labels.write_text(
        "key,text,good\n" + "".join(f'{row["key"]},"{t}",1\n' for row in rows for t in row["synthetic"])
    )
    again = ("capfilt", table, "--decoding", "both", "--captions", 2)
    half = limner(*again, "--quantile", 0.5)
    assert "50.0% go" in half.stderr
    assert "only decisions are new" in half.stderr
    refused = limner(*again, "--precision", 0.99, "--labels", labels)
    assert refused.exit_code == 2
    assert "no threshold is sure" in refused.stderr
    sure = limner(*again, "--precision", 0.3, "--labels", labels)
    assert sure.exit_code == 0, sure.stderr
    assert "wanted 0.3" in sure.stderr


def test_settings_by_name_and_a_screen(limner, table):
    result = limner("capfilt", table, "--set", "decoding.temperature=0.5", "--itc-screen", -1)
    assert result.exit_code == 0
    assert "screen" in result.stderr
    settings = json.loads(Table.open(table).column("capfilt")[0]["settings"])
    assert settings["decoding"]["temperature"] == 0.5
    assert limner("capfilt", table, "--captions", 2, "--decoding", "beam").exit_code == 2
    assert limner("capfilt", table, "--set", "colour=red").exit_code == 2


def test_what_is_refused_leaves_nothing(limner, table, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for wrong in ("texts_column=key", "texts_column=nope", 'languages=["english"]'):
        result = limner("capfilt", table, "--set", wrong)
        assert (result.exit_code, result.stdout) == (2, "")
        assert wrong.split("=")[1].strip('["]') in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_who_works_is_asked_of_ray_alone(limner, table, monkeypatch):
    refused = limner("capfilt", table, "--workers", 2, "--gpus", 0.5)
    assert refused.exit_code == 2
    assert "--workers, --gpus of --engine local" in refused.stderr
    monkeypatch.setattr("limner.capfilt.ray_engine.find_spec", lambda name: None)
    missing = limner("capfilt", table, "--engine", "ray")
    assert missing.exit_code == 2
    assert "pip install 'limner[ray]'" in missing.stderr


def test_merging_says_first_how_far_it_agrees_and_is_recorded(limner, table):
    plain = limner("capfilt", table)
    assert "merging:" not in plain.stderr
    merged = limner("capfilt", table, "--merge", 1)
    assert merged.exit_code == 0
    said = [line for line in merged.stderr.splitlines() if line.startswith(("merging:", "capfilt …"))]
    assert [line[:14] for line in said] == ["merging: of 4 ", "merging: of 1 ", "capfilt …"]
    assert "captions are the same as without merging" in said[0]
    assert "web texts" in said[1]
    assert "4 pictures in" in merged.stderr
    assert json.loads(Table.open(table).column("capfilt")[0]["settings"])["merge"] == 1
    (*_, record) = read_records(table.with_suffix(".capfilt") / "records.jsonl", "capfilt")
    assert record["settings"]["merge"] == 1
    assert record["captioner"].endswith("+merge1")


def test_merging_compares_nothing_when_no_model_runs(limner, table):
    by_name = limner("capfilt", table, "--set", "merge=1")
    assert by_name.stderr.count("merging:") == 2
    again = limner("capfilt", table, "--merge", 1, "--threshold", 0.9)
    assert "only decisions are new" in again.stderr
    assert "merging:" not in again.stderr
    assert limner("capfilt", table, "--merge", 1, "--force").stderr.count("merging:") == 2


def test_more_tokens_than_there_are_are_refused(limner, table):
    version = Table.open(table).version
    refused = limner("capfilt", table, "--merge", 99)
    assert refused.exit_code == 2
    for words in ("merging 99 tokens", "1 to 2: of 4 patches", "--merge 2, or --merge 0"):
        assert words in refused.stderr
    assert Table.open(table).version == version


@pytest.mark.slow
def test_ray_works_quietly_and_gives_the_same(limner, table):
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "limner", "capfilt", str(table), "--json"]
    command += ["--set", "chunk_rows=2", "--set", "batch_size=2"]
    many = [*command, "--engine", "ray", "--workers", "2"]
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    on_ray = subprocess.run(many, capture_output=True, text=True, check=False, env=quiet)
    assert on_ray.returncode == 0, on_ray.stderr
    assert [line for line in on_ray.stderr.splitlines() if "limner_tiny" not in line] == ["capfilt …"]
    first = Table.open(table).arrow(["key", *DECIDED.names])
    alone = [*command, "--force"]
    told = json.loads(subprocess.run(alone, capture_output=True, text=True, check=True, env=quiet).stdout)
    assert told["ledger"] == json.loads(on_ray.stdout)["ledger"]
    assert Table.open(table).arrow(["key", *DECIDED.names]) == first
