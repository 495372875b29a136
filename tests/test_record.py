import json
import math
import time

import numpy as np
import pytest
import torch

from limner.errors import DataError
from limner.record import Recorder, read_records, truncate_records


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "records.jsonl"


def test_records_are_read_in_order_and_by_kind(path):
    recorder = Recorder(path)
    written = [
        recorder.write("train", step=1),
        recorder.write("end", text="é"),
        recorder.write("train", step=2),
    ]
    assert read_records(path) == written
    assert [record["step"] for record in read_records(path, "train")] == [1, 2]
    assert abs(written[0]["time"] - time.time()) < 60


def test_numbers_of_numpy_and_torch_become_plain(path):
    values = {
        "a": np.float32(0.5),
        "b": torch.tensor(2),
        "c": np.arange(3),
        "d": {1: torch.ones(2)},
        "e": (math.nan, math.inf),
        "f": None,
        "g": [np.int64(3), "x"],
    }
    record = Recorder(path).write("x", **values)
    plain = {
        "a": 0.5,
        "b": 2,
        "c": [0, 1, 2],
        "d": {"1": [1.0, 1.0]},
        "e": ["nan", "inf"],
        "f": None,
        "g": [3, "x"],
    }
    assert {key: record[key] for key in values} == plain
    assert read_records(path) == [record]
    json.loads(path.read_text(), parse_constant=pytest.fail)


def test_a_last_line_cut_short_is_skipped(path):
    recorder = Recorder(path)
    recorder.write("a")
    with path.open("a") as file:
        file.write('{"kind": "b", "ti')
    assert [record["kind"] for record in read_records(path)] == ["a"]


def test_a_broken_line_in_the_middle_is_named(path):
    recorder = Recorder(path)
    recorder.write("a")
    with path.open("a") as file:
        file.write("{broken\n")
    recorder.write("b")
    with pytest.raises(DataError, match=r"records\.jsonl:2 is no JSON record"):
        read_records(path)


def test_missing_records_say_so(path):
    with pytest.raises(DataError, match="no records at"):
        read_records(path)


def test_records_past_a_step_are_dropped(path):
    truncate_records(path, 3)
    assert not path.exists()
    recorder = Recorder(path)
    recorder.write("run")
    for step in range(5):
        recorder.write("train", step=step)
    truncate_records(path, 2)
    assert [(record["kind"], record.get("step")) for record in read_records(path)] == [
        ("run", None),
        ("train", 0),
        ("train", 1),
        ("train", 2),
    ]
    assert [file.name for file in path.parent.iterdir()] == ["records.jsonl"]


def test_line_ends_of_other_scripts_stay_inside_a_record(path):
    written = [Recorder(path).write("x", text=text) for text in ("a\u2028b", "c\x85d\x0ce", "f\r\ng")]
    assert read_records(path) == written


def test_a_durable_record_is_synced(path, monkeypatch):
    synced = []
    monkeypatch.setattr("limner.record.os.fsync", synced.append)
    Recorder(path).write("x")
    Recorder(path, durable=True).write("x")
    assert len(synced) == 1


def test_a_line_that_a_kill_cut_short_spoils_no_later_one(tmp_path):
    path = tmp_path / "records.jsonl"
    Recorder(path).write("train", step=1)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"kind": "train", "st')
    Recorder(path).write("train", step=2)
    assert [record["step"] for record in read_records(path)] == [1, 2]
    path.write_bytes(b'{"kind"')
    Recorder(path)
    assert path.read_bytes() == b""


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match=r"(?s)taken cannot be made: .*wanted: a folder"):
        Recorder(tmp_path / "taken" / "records.jsonl")
