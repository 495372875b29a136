"""Imports of real data find what is known of it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from limner.data.importing import ImportOptions, ImportResult, import_sources
from limner.data.table import Table
from limner.report.scrub_findings import ScrubSettings, look_at

SHARED = Path(__file__).parents[3] / "shared/data"
FASHION = Path("/usr/share/datasets/fashion-mnist")

pytestmark = pytest.mark.slow
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")


def imported(sources: Sequence[Path], tmp_path: Path, options: ImportOptions | None = None) -> ImportResult:
    return import_sources(sources, tmp_path / "t.lance", options)


def splits(table: Table) -> dict[str, int]:
    counts: dict[str, int] = {}
    for batch in table.batches(("split",)):
        for row in batch:
            counts[row["split"]] = counts.get(row["split"], 0) + 1
    return counts


@needs_shared
def test_the_clip_art_has_the_faults_its_makers_counted(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    source = SHARED / "clipart/clipart.parquet"
    flags = pq.read_table(source, columns=["flags"])["flags"].to_pylist()
    truth = sum("title_shared_5plus" in found for found in flags)
    result = imported([source], tmp_path, ImportOptions(caption_column="title"))
    assert result.rows == 7335
    assert not result.refused
    found = look_at(result.table, ScrubSettings(sample=50))
    assert found.duplicates.exact == 520
    shared = next(fault.count for fault in found.texts.faults if fault.name == "shared")
    assert shared == pytest.approx(truth, rel=0.01)
    assert shared / 7335 == pytest.approx(0.576, abs=0.005)


@needs_shared
def test_four_fifths_of_the_clip_art_are_not_described(tmp_path: Path) -> None:
    source = SHARED / "clipart/clipart.parquet"
    result = imported([source], tmp_path, ImportOptions(caption_column="description"))
    found = look_at(result.table, ScrubSettings(sample=50))
    assert found.without_text / result.rows == pytest.approx(0.81, abs=0.005)


@needs_shared
def test_flickr8k_has_its_splits_and_five_captions_a_picture(tmp_path: Path) -> None:
    files = [SHARED / f"flickr8k/{name}.parquet" for name in ("train", "val", "test", "none")]
    result = imported(files, tmp_path)
    assert splits(result.table) == {"train": 6000, "val": 1000, "test": 1000, "none": 91}
    found = look_at(result.table, ScrubSettings(sample=50))
    assert found.texts.count == 8091 * 5 - 10  # ten captions stand twice on one picture
    assert found.duplicates.exact == 1


@pytest.mark.skipif(not FASHION.exists(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_comes_from_its_idx_files(tmp_path: Path) -> None:
    result = imported([FASHION], tmp_path)
    assert splits(result.table) == {"train": 60_000, "test": 10_000}
    labels: dict[str, int] = {}
    for batch in result.table.batches(("label",)):
        for row in batch:
            labels[row["label"]] = labels.get(row["label"], 0) + 1
    assert set(labels.values()) == {7000}
    assert len(labels) == 10
