"""IDX files: written by hand, broken by hand, and the real Fashion-MNIST where it is installed."""

import gzip
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from limner.data.sources.idx import FASHION, recognise
from limner.data.sources.item import Guess, ImportOptions
from limner.errors import DataError

OPTIONS = ImportOptions()
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def pixels(count: int, seed: int = 0, shape: tuple[int, ...] = (6, 5)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_pair(folder: Path, split: str, count: int, packed: bool = True) -> np.ndarray:
    folder.mkdir(exist_ok=True)
    array = pixels(count, len(split))
    for name, data in [("images-idx3", array), ("labels-idx1", (np.arange(count) % 10).astype(np.uint8))]:
        made = idx(data)
        path = folder / f"{split}-{name}-ubyte{'.gz' * packed}"
        path.write_bytes(gzip.compress(made) if packed else made)
    return array


def guessed(path: Path) -> Guess:
    guess = recognise(path, OPTIONS)
    assert guess is not None
    return guess


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_of_both_splits(tmp_path: Path, packed: bool) -> None:
    test = write_pair(tmp_path / "mnist", "t10k", 3, packed)
    train = write_pair(tmp_path / "mnist", "train", 12, packed)
    guess = guessed(tmp_path / "mnist")
    items = list(guess.items())
    assert guess.count == len(items) == 15
    assert "pictures: 6 x 5: 12 train, 3 test" in guess.lines
    assert "labels: 10 classes, their numbers" in guess.lines
    assert [item.key for item in items[10:13]] == ["train/00010", "train/00011", "test/00000"]
    assert [(item.label, item.split) for item in items[9:13]] == [
        ("9", "train"),
        ("0", "train"),
        ("1", "train"),
        ("0", "test"),
    ]
    found = np.stack([np.asarray(item.picture) for item in items])
    np.testing.assert_array_equal(found, np.concatenate([train, test]))


def test_one_file_and_the_names_of_fashion(tmp_path: Path) -> None:
    write_pair(tmp_path / "fashion-mnist", "train", 10)
    guess = guessed(tmp_path / "fashion-mnist" / "train-images-idx3-ubyte.gz")
    assert [item.label for item in guess.items()] == list(FASHION)


def test_pictures_without_labels_and_in_colour(tmp_path: Path) -> None:
    path = tmp_path / "pictures.idx4-ubyte"
    path.write_bytes(idx(pixels(2, shape=(4, 4, 3))))
    guess = guessed(path)
    assert "labels: no file of labels beside" in guess.lines
    assert [(item.key, item.label, np.shape(item.picture)) for item in guess.items()] == [
        ("pictures/00000", None, (4, 4, 3)),
        ("pictures/00001", None, (4, 4, 3)),
    ]


@pytest.mark.parametrize("cut", [2, 6, 20, 100])
@pytest.mark.parametrize("packed", [True, False])
def test_files_that_are_cut_short(tmp_path: Path, cut: int, packed: bool) -> None:
    write_pair(tmp_path, "train", 8, packed)
    path = next(tmp_path.glob("train-images*"))
    path.write_bytes(path.read_bytes()[:cut])
    if not packed and cut < 4:
        assert recognise(path, OPTIONS) is None
        return
    with pytest.raises(DataError, match=r"breaks off|has \d+ of the"):
        recognise(path, OPTIONS)


def test_files_that_lie(tmp_path: Path) -> None:
    array = pixels(3)
    cases = {
        "more than": idx(array) + b"x",
        "type 0x0d": idx(array.astype(">f4"), 0x0D),
        "promises the shape": struct.pack(">BBBB3I", 0, 0, 8, 3, *([2**32 - 1] * 3)),
        r"in the shape \(2, 2, 2, 7\)": idx(pixels(2, shape=(2, 2, 7))),
        r"in the shape \(2, 2\)": idx(pixels(2, shape=(2,))),
    }
    for message, data in cases.items():
        path = tmp_path / "x-images-idx3-ubyte"
        path.write_bytes(data)
        with pytest.raises(DataError, match=message):
            recognise(path, OPTIONS)


def test_another_number_of_labels(tmp_path: Path) -> None:
    write_pair(tmp_path, "train", 8)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(7, np.uint8))))
    with pytest.raises(DataError, match=r"(?s)holds 7 labels.*8, one a picture"):
        recognise(tmp_path, OPTIONS)


def test_labels_alone(tmp_path: Path) -> None:
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(7, np.uint8)))
    with pytest.raises(DataError, match="holds labels"):
        recognise(path, OPTIONS)


def test_other_files_are_another_kind(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,text\n", encoding="utf-8")
    (tmp_path / "idx.md").write_text("no", encoding="utf-8")
    for path in (tmp_path, tmp_path / "a.csv", tmp_path / "none"):
        assert recognise(path, OPTIONS) is None


@pytest.mark.slow
def test_fashion_mnist_as_debian_packs_it() -> None:
    if not DEBIAN.is_dir():
        pytest.skip(f"no {DEBIAN}: it comes with the package dataset-fashion-mnist")
    guess = guessed(DEBIAN)
    assert guess.count == 70_000
    labels: Counter[str | None] = Counter()
    splits: Counter[str | None] = Counter()
    keys = set()
    for item in guess.items():
        labels[item.label] += 1
        splits[item.split] += 1
        keys.add(item.key)
        assert np.shape(item.picture) == (28, 28)
    assert labels == dict.fromkeys(FASHION, 7000)
    assert splits == {"train": 60_000, "test": 10_000}
    assert len(keys) == 70_000
