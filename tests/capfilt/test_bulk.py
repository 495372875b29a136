import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from limner.capfilt import bulk
from limner.capfilt.bulk import (
    BulkSettings,
    caption_files,
    caption_table,
    sidecar,
    without_sidecar,
    write_sidecar,
)
from limner.capfilt.caption import caption_images
from limner.checkpoint import Bundle
from limner.data.intake import decode
from limner.data.table import Table
from limner.data.transforms import to_u8
from limner.errors import DataError
from limner.models.generate import Decoding

GREEDY = BulkSettings(decoding=Decoding(max_tokens=6), batch_size=4)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"p{i}.png" for i in range(3)]
    for seed, path in enumerate(paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


def test_captions_stand_between_prefix_and_suffix(bundle: Bundle, pictures: list[Path]) -> None:
    plain = [one.captions[0].text for one in caption_files(bundle, pictures, GREEDY)]
    dressed = GREEDY.model_copy(update={"prefix": "ohwx, ", "suffix": ", photo"})
    found = list(caption_files(bundle, pictures, dressed))
    assert [one.captions[0].text for one in found] == [f"ohwx, {text}, photo" for text in plain]


def test_a_sidecar_has_a_line_a_caption_or_json(bundle: Bundle, pictures: list[Path]) -> None:
    several = GREEDY.model_copy(update={"decoding": Decoding(method="nucleus", max_tokens=6), "count": 2})
    for result in caption_files(bundle, pictures, several):
        text = write_sidecar(result, "txt").read_text(encoding="utf-8")
        assert text == "".join(caption.text + "\n" for caption in result.captions)
        told = json.loads(write_sidecar(result, "json").read_text(encoding="utf-8"))
        assert [one["text"] for one in told] == [caption.text for caption in result.captions]
        assert all(one["log_prob"] <= 0 for one in told)
        for one in told:
            parts = [token["log_prob"] for token in one["tokens"]]
            assert sum(parts) == pytest.approx(one["log_prob"], abs=1e-3)
    names = sorted(path.name for path in pictures[0].parent.iterdir())
    assert names == sorted(f"p{i}.{kind}" for i in range(3) for kind in ("png", "txt", "json"))


def test_pictures_with_a_sidecar_are_left_out(pictures: list[Path]) -> None:
    sidecar(pictures[1], "txt").write_text("mine")
    assert without_sidecar(pictures, "txt") == [pictures[0], pictures[2]]
    assert without_sidecar(pictures, "json") == pictures


def test_two_pictures_of_one_sidecar_are_refused(pictures: list[Path]) -> None:
    with pytest.raises(DataError, match=r"would share p1\.txt"):
        without_sidecar([*pictures, pictures[1].with_suffix(".jpg")], "txt")


def test_a_table_gets_a_column_in_one_version(bundle: Bundle, noisy: Table) -> None:
    found = caption_table(noisy, bundle, GREEDY)
    assert found.table.version == noisy.version + 1
    assert (found.captioned, found.refused, found.fresh) == (21, {"truncated": 2}, 23)
    assert found.table.column_names == [*noisy.column_names, "captions", "captions_log_prob"]
    rows = found.table.rows(range(23))
    assert [i for i, row in enumerate(rows) if row["captions"] is None] == [3, 19]
    good = [row for row in rows if row["captions"] is not None]
    images = [to_u8(decode(row["image"], max_side=32), bundle.image_spec) for row in good]
    want = caption_images(bundle, images, [row["key"] for row in good], GREEDY.decoding)
    assert [row["captions"] for row in good] == [[one.text for one in row] for row in want]
    told = [row["captions_log_prob"][0] for row in good]
    assert told == pytest.approx([row[0].log_prob for row in want], abs=1e-4)
    assert found.table.record()["model"] == bundle.digest
    assert "21 rows captioned, 2 refused" in found.table.versions()[-1].note


def test_a_stopped_table_is_gone_on_with(
    bundle: Bundle, noisy: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = bulk._caption_rows
    starts: list[int] = []

    def stopping(table: Table, indices: range, *rest: object) -> list[dict]:
        starts.append(indices.start)
        if len(starts) == 3:
            raise KeyboardInterrupt
        return whole(table, indices, *rest)

    monkeypatch.setattr(bulk, "_caption_rows", stopping)
    with pytest.raises(KeyboardInterrupt):
        caption_table(noisy, bundle, GREEDY)
    assert Table.open(noisy.path).version == noisy.version
    (partial,) = tmp_path.glob("pairs.lance.captions-*.jsonl")
    with partial.open("ab") as file:
        file.write(b'{"problem": null, "te')  # what a kill leaves
    done: list[tuple[int, int]] = []
    found = caption_table(noisy, bundle, GREEDY, progress=lambda *now: done.append(now))
    assert starts[2:] == [8, 8, 12, 16, 20]
    assert done[-1] == (23, 23)
    assert found.fresh == 15
    assert not partial.exists()
    other = caption_table(found.table, bundle, GREEDY, "at_once")
    for name in ("", "_log_prob"):
        assert other.table.column(f"at_once{name}") == other.table.column(f"captions{name}")


def test_the_same_again_does_nothing_and_another_is_refused(bundle: Bundle, noisy: Table) -> None:
    first = caption_table(noisy, bundle, GREEDY)
    same = caption_table(Table.open(noisy.path), bundle, GREEDY.model_copy(update={"batch_size": 9}))
    assert (same.table.version, same.fresh, same.captioned) == (first.table.version, 0, 21)
    other = GREEDY.model_copy(update={"prefix": "x "})
    with pytest.raises(DataError, match="has a column 'captions' already"):
        caption_table(Table.open(noisy.path), bundle, other)
    anew = caption_table(Table.open(noisy.path), bundle, other, overwrite=True)
    assert anew.table.column("captions")[0][0].startswith("x ")


def test_an_empty_table_is_refused(bundle: Bundle, make_table: Callable[..., Table]) -> None:
    with pytest.raises(DataError, match="has no rows"):
        caption_table(make_table([]), bundle, GREEDY)


def test_what_a_table_needs_is_not_written_over(bundle: Bundle, noisy: Table) -> None:
    for name in ("key", "image", "label", "a/b", "a b", ""):
        with pytest.raises(DataError, match="captions in a column"):
            caption_table(noisy, bundle, GREEDY, name, overwrite=True)
    assert Table.open(noisy.path).version == noisy.version


def test_a_table_without_pictures_is_left_alone(bundle: Bundle, tmp_path: Path) -> None:
    plain = Table.write(
        tmp_path / "t.lance", [pa.record_batch({"key": ["a"]})], pa.schema({"key": pa.string()})
    )
    with pytest.raises(DataError, match="no column 'image'"):
        caption_table(plain, bundle, GREEDY)
    assert [path.name for path in tmp_path.iterdir()] == ["t.lance"]
