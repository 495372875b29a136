import json
import signal
import subprocess
import sys
import tarfile
import time
from itertools import islice

import pyarrow as pa
import pytest

from limner.data.importing import ImportOptions, import_source
from limner.data.table import SCHEMA, Table


@pytest.fixture
def pairs(photos, tmp_path):
    out = tmp_path / "pairs.lance"
    import_source(photos, out, ImportOptions(max_bad=0.5))
    return out


def test_a_table_is_written_and_counted(limner, pairs, tmp_path):
    result = limner("export", pairs, "--to", "webdataset", "--out", tmp_path / "tars")
    assert result.exit_code == 0
    assert f"{tmp_path / 'tars'}: 4 pictures with 1 texts" in result.stdout
    with tarfile.open(tmp_path / "tars" / "00000.tar") as tar:
        assert len(tar.getnames()) == 12


@pytest.mark.parametrize("to", ["parquet", "folder", "imagefolder", "coco"])
def test_every_kind_is_written(limner, pairs, tmp_path, to):
    result = limner("export", pairs, "--to", to, "--out", tmp_path / "out", "--json")
    told = json.loads(result.stdout)
    assert (told["to"], told["rows"], told["texts"], told["left_out"]) == (to, 4, 1, [])
    assert told["files"] > 0
    assert told["bytes"] > 0


def test_where_and_shard_size_are_as_asked(limner, pairs, tmp_path):
    result = limner(
        *("export", pairs, "--to", "parquet", "--out", tmp_path / "out", "--json"),
        *("--where", "key <> 'p0.png'", "--shard-size", 2),
    )
    assert json.loads(result.stdout)["rows"] == 3
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [
        "00000.parquet",
        "00001.parquet",
    ]


def test_a_place_that_is_taken_is_refused(limner, pairs, photos, tmp_path):
    command = ("export", pairs, "--to", "folder", "--out")
    assert limner(*command, tmp_path / "out").exit_code == 0
    again = limner(*command, tmp_path / "out")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert limner(*command, tmp_path / "out", "--overwrite").exit_code == 0
    before = sorted(photos.rglob("*"))
    refused = limner(*command, photos, "--overwrite")
    assert refused.exit_code == 2
    assert "was not written by limner export" in refused.stderr
    assert sorted(photos.rglob("*")) == before


def test_wrong_options_say_what_is_right(limner, pairs, tmp_path):
    command = ("export", pairs, "--out", tmp_path / "out", "--to", "folder")
    for options, said in [
        (("--where", "size > 3"), "size"),
        (("--texts-column", "captions"), "no column 'captions'"),
        (("--shard-size", 10), "--shard-size"),
    ]:
        result = limner(*command, *options)
        assert result.exit_code == 2
        assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_says_that_nothing_was_written(limner, pairs, tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.data.sinks.out_row", interrupted)
    result = limner("export", pairs, "--to", "folder", "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert "was not written" in result.stderr
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_vectors_that_are_left_out_are_named(limner, pairs, tmp_path):
    vectors = pa.array([[0.0, 1.0]] * 4, pa.list_(pa.float32(), 2))
    Table.open(pairs).add_columns(pa.table({"embedding_x": vectors}), "made")
    result = limner("export", pairs, "--to", "folder", "--out", tmp_path / "out")
    assert "embedding_x" in result.stderr


@pytest.mark.slow
def test_a_real_ctrl_c_leaves_nothing(pairs, tmp_path):
    """The table is made long enough that the signal meets the work."""
    row = Table.open(pairs).rows([0])[0]
    many = ({**row, "key": f"row {number}"} for number in range(20_000))
    batches = (pa.RecordBatch.from_pylist(list(islice(many, 1000)), schema=SCHEMA) for _ in range(20))
    table = Table.write(tmp_path / "many.lance", batches).path
    out = tmp_path / "place" / "out"
    command = [sys.executable, "-m", "limner", "export", str(table), "--to", "folder", "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("place/.out.*.unfinished/*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "was not written" in said
    assert list((tmp_path / "place").iterdir()) == []
