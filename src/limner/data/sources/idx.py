"""IDX files as MNIST and Fashion-MNIST have them: pictures in one file, labels in another, packed or not."""

import gzip
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from math import prod
from typing import Any, Final, NamedTuple

import numpy as np

from limner.data.sources.beside import Place, counted, files_in, split_in
from limner.data.sources.item import Guess, ImportOptions, Item
from limner.errors import DataError

FASHION: Final = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_UBYTE: Final = 0x08
_LARGEST: Final = 2**40
_BLOCK: Final = 2**20


class _Pair(NamedTuple):
    """A file of pictures with its labels.

    Args:
        pictures: an IDX file.
        shape: (n, y, x) or (n, y, x, 3).
        labels: one for each picture; None without a file of them.
        split: that the name tells.
    """

    pictures: Place
    shape: tuple[int, ...]
    labels: np.ndarray | None
    split: str | None


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a file, or the files right in a folder, for IDX pictures.

    Raises: DataError when a file is cut short, is no bytes, or has another number of labels than pictures.
    """
    if path.is_file() and _is_idx(path):
        files = [path]
    elif path.is_dir():
        files = [one for one in files_in(path, lambda name: "idx" in name.lower()) if _is_idx(one)]
    else:
        return None
    shapes = {file: _shape(file) for file in files}
    pictures = sorted((f for f in files if len(shapes[f]) > 1), key=_train_first)
    if not files:
        return None
    if not pictures:
        raise DataError(f"{files[0]} holds labels", wanted="pictures", hint="give the folder of both")
    pairs = [_pair(file, shapes[file]) for file in pictures]
    names = FASHION if _is_fashion(path) else None
    items = partial(_items, pairs, names)
    counts = Counter({pair.split or "without a split": pair.shape[0] for pair in pairs})
    labels = [pair.labels for pair in pairs if pair.labels is not None]
    classes = len(np.unique(np.concatenate(labels))) if labels else 0
    how = "Fashion-MNIST's names" if names else "their numbers"
    lines = [
        f"IDX files: {', '.join(str(pair.pictures.name) for pair in pairs)}",
        f"pictures: {' x '.join(map(str, pairs[0].shape[1:]))}: {counted(counts)}",
        f"labels: {classes} classes, {how}" if labels else "labels: no file of labels beside",
        "captions: none",
    ]
    count = sum(pair.shape[0] for pair in pairs)
    return Guess(str(path), "idx", tuple(lines), tuple(islice(items(), 3)), count, items)


def _train_first(path: Place) -> tuple[bool, str]:
    return split_in(path.name) != "train", str(path.name)


def _is_fashion(path: Place) -> bool:
    return any("fashion" in str(part.name).lower() for part in (path, path.parent, path.parent.parent))


# ---- files


@contextmanager
def _opened(path: Place) -> Iterator[Any]:
    """An IDX file, unpacked as it is read."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            if packed:
                with gzip.open(file) as unpacked:
                    yield unpacked
            else:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path} breaks off: {error}", hint="copy or download it again") from error


def _is_idx(path: Place) -> bool:
    """Whether a file begins as IDX files do: two zeros, a known type, one to four axes."""
    if not path.is_file():
        return False
    try:
        with _opened(path) as file:
            start = file.read(4)
    except DataError:
        return "idx" in path.name.lower()
    known = (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in known and 1 <= start[3] <= 4


def _header(file: Any, path: Place) -> tuple[int, tuple[int, ...]]:
    start = file.read(4)
    sizes = file.read(4 * start[3]) if len(start) == 4 else b""
    if len(start) < 4 or len(sizes) < 4 * start[3]:
        raise DataError(f"{path} breaks off in its header", hint="copy or download it again")
    return start[2], struct.unpack(f">{start[3]}I", sizes)


def _shape(path: Place) -> tuple[int, ...]:
    """Axes of an IDX file whose length is right."""
    with _opened(path) as file:
        kind, shape = _header(file, path)
        if kind != _UBYTE or (len(shape) == 4 and shape[3] not in (1, 3, 4)) or len(shape) == 2:
            raise DataError(
                f"{path} holds values of type 0x{kind:02x} in the shape {shape}",
                wanted="bytes (0x08) of shape (n), (n, y, x) or (n, y, x, 3)",
            )
        expected, found = prod(shape), 0
        if expected > _LARGEST or 0 in shape:
            raise DataError(f"{path} promises the shape {shape}", wanted="pictures that fit on a disk")
        while found <= expected and (block := file.read(_BLOCK)):
            found += len(block)
    if found != expected:
        more = "more than" if found > expected else f"{found:,} of"
        raise DataError(
            f"{path} has {more} the {expected:,} bytes that its header promises",
            wanted=f"the shape {shape}",
            hint="copy or download it again",
        )
    return shape


def _pair(pictures: Place, shape: tuple[int, ...]) -> _Pair:
    """Pictures with the labels of the file beside them."""
    name = str(pictures.name)
    beside = name.replace("images", "labels").replace(f"idx{len(shape)}", "idx1")
    other = beside.removesuffix(".gz") if beside.endswith(".gz") else f"{beside}.gz"
    found = [pictures.parent / one for one in (beside, other) if one not in (name, f"{name}.gz")]
    path = next((one for one in found if one.is_file() and one.name != name), None)
    labels = None if path is None else _labels(path, shape[0])
    return _Pair(pictures, shape, labels, split_in(name))


def _labels(path: Place, wanted: int) -> np.ndarray | None:
    shape = _shape(path)
    if shape != (wanted,):
        raise DataError(f"{path} holds {shape[0]:,} labels", wanted=f"{wanted:,}, one a picture")
    with _opened(path) as file:
        _header(file, path)
        return np.frombuffer(file.read(wanted), dtype=np.uint8)


# ---- items


def _items(pairs: Sequence[_Pair], names: Sequence[str] | None) -> Iterator[Item]:
    spelt = {pair.split for pair in pairs}
    for pair in pairs:
        tells = pair.split is not None and len(spelt) == len(pairs)
        prefix = f"{pair.split}/" if tells else f"{str(pair.pictures.name).split('.')[0]}/"
        for number, pixels in enumerate(_pixels(pair)):
            yield Item(
                f"{prefix}{number:05d}",
                f"{pair.pictures.name} picture {number}",
                pixels,
                label=_class_name(pair.labels, number, names),
                split=pair.split,
            )


def _pixels(pair: _Pair) -> Iterator[np.ndarray]:
    with _opened(pair.pictures) as file:
        _header(file, pair.pictures)
        size = prod(pair.shape[1:])
        for _ in range(pair.shape[0]):
            yield np.frombuffer(file.read(size), dtype=np.uint8).reshape(pair.shape[1:])


def _class_name(labels: Any, number: int, names: Sequence[str] | None) -> str | None:
    if labels is None:
        return None
    value = int(labels[number])
    return names[value] if names and value < len(names) else str(value)
