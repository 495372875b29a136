import io
import json
import tarfile
from contextlib import ExitStack

import pyarrow.parquet as pq
import pytest

from limner.data.sinks import ExportOptions, export_table


@pytest.fixture(scope="module")
def shards(jpegs, tmp_path_factory):
    out = tmp_path_factory.mktemp("tars") / "out"
    return export_table(jpegs, out, "webdataset", ExportOptions(shard_size=5)).path


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_the_layout_is_img2datasets(shards):
    names = [f"{i:05d}{end}" for i in range(3) for end in (".parquet", ".tar", "_stats.json")]
    assert sorted(path.name for path in shards.glob("[!.]*")) == names
    stats = json.loads((shards / "00002_stats.json").read_text())
    assert (stats["count"], stats["successes"], stats["status_dict"]) == (2, 2, {"success": 2})
    assert list(members(shards / "00001.tar"))[:3] == ["000000005.jpg", "000000005.txt", "000000005.json"]


def test_the_status_file_has_the_tables_own_columns(shards, jpegs):
    read = pq.read_table(shards / "00000.parquet")
    assert read.column_names[:4] == ["url", "caption", "status", "error_message"]
    assert {"key", "width", "height", "sha256", "texts", "questions", "boxes"} <= set(read.column_names)
    assert "image" not in read.column_names
    wanted = jpegs.rows(range(5), ["key", "texts", "boxes", "sha256"])
    assert read.select(["key", "texts", "boxes", "sha256"]).to_pylist() == wanted
    assert set(read["status"].to_pylist()) == {"success"}


def test_members_hold_the_bytes_the_first_text_and_the_record(shards, jpegs):
    found = members(shards / "00000.tar")
    for number, row in enumerate(jpegs.rows(range(5))):
        name = f"{number:09d}"
        assert found[f"{name}.jpg"] == row["image"]
        assert found[f"{name}.txt"].decode() == (row["texts"] or [""])[0]
        record = json.loads(found[f"{name}.json"])
        assert {field: record[field] for field in ("key", "texts", "boxes", "questions")} == {
            field: row[field] for field in ("key", "texts", "boxes", "questions")
        }
        assert record["status"] == "success"


def test_no_key_is_ever_a_member_name(awkward, tmp_path):
    out = export_table(awkward, tmp_path / "out", "webdataset").path
    names = members(out / "00000.tar")
    assert len(names) == 3 * len(awkward)
    assert all(name.partition(".")[0].isdecimal() and "/" not in name for name in names)
    urls = pq.read_table(out / "00000.parquet")["url"].to_pylist()
    assert [url for url in urls if url] == ["https://example.org/a.jpg?x=1&y=2"]


@pytest.mark.peer
def test_the_webdataset_package_reads_the_same(shards, jpegs):
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with ExitStack() as opened:  # WebDataset itself leaves its files open
        paths = sorted(shards.glob("*.tar"))
        streams = [{"url": str(path), "stream": opened.enter_context(path.open("rb"))} for path in paths]
        samples = [sample for sample in group_by_keys(tar_file_expander(streams)) if sample]
    assert [sample["__key__"] for sample in samples] == [f"{n:09d}" for n in range(len(jpegs))]
    for sample, row in zip(samples, jpegs.rows(range(len(jpegs))), strict=True):
        assert sample["jpg"] == row["image"]
        assert sample["txt"].decode() == (row["texts"] or [""])[0]
        assert json.loads(sample["json"])["key"] == row["key"]
        assert json.loads(sample["json"])["texts"] == row["texts"]


@pytest.mark.peer
@pytest.mark.slow
def test_datasets_reads_the_tars(shards, jpegs, datasets):
    files = [str(path) for path in sorted(shards.glob("*.tar"))]
    read = datasets.load_dataset("webdataset", data_files={"train": files}, split="train")
    read = read.cast_column("jpg", datasets.Image(decode=False))
    assert [one["bytes"] for one in read["jpg"]] == jpegs.column("image")
    assert [one["key"] for one in read["json"]] == jpegs.column("key")
    assert list(read["txt"]) == [(texts or [""])[0] for texts in jpegs.column("texts")]


def test_a_tar_is_read_as_a_stream(shards):
    data = (shards / "00002.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as tar:
        assert [member.name for member in tar if member.name.endswith(".jpg")] == [
            "000000010.jpg",
            "000000011.jpg",
        ]
