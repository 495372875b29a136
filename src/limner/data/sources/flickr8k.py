"""Flickr8k's token file, and Flickr30K's: lines of `name.jpg#0<tab>caption`, lists of the splits beside."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final

from limner.data.sources.beside import Pictures, Place, counted, files_in
from limner.data.sources.item import Guess, ImportOptions, Item
from limner.data.sources.tars import decoded
from limner.errors import DataError

SUFFIXES: Final = (".token.txt", ".token")
_LINE: Final = re.compile(r"([^\t#]+)#(\d+)\s*\t(.*)")
_LIST: Final = re.compile(r"[._](train|dev|test)images\.txt$", re.IGNORECASE)
_SPLITS: Final = {"train": "train", "dev": "val", "test": "test"}
_FOLDERS: Final = ("Flickr8k_text", "flickr8k_text", "text")
_SHARE: Final = 0.5


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a token file, or a folder with one, for Flickr's captions.

    Raises: DataError when most lines are no captions, or no picture is found.
    """
    file = _token_file(path)
    if file is None:
        return None
    captions, broken = _captions(file)
    splits, lists = _splits(file.parent)
    pictures = Pictures(file, [(name,) for name in captions], options)
    counts = Counter(splits.get(name) or "without a split" for name in captions)
    unnamed = len(splits.keys() - captions.keys())
    texts = sum(len(found) for found in captions.values())
    lines = [
        f"Flickr token file: {file.name}, {texts:,} captions of {len(captions):,} pictures",
        pictures.line,
        f"splits: {counted(counts)}, from {', '.join(lists)}; dev is val" if lists else "splits: no lists",
        "keys: the file name",
        *([f"not read: {broken} lines that are no captions"] if broken else []),
        *([f"not matched: {unnamed} names in the lists of splits have no caption"] if unnamed else []),
    ]
    items = partial(_items, file.name, captions, splits, pictures)
    return Guess(str(path), "flickr8k", tuple(lines), tuple(islice(items(), 3)), len(captions), items)


def _token_file(path: Place) -> Place | None:
    if path.is_file():
        return path if path.name.lower().endswith(SUFFIXES) else None
    for folder in (path, *(path / name for name in _FOLDERS)):
        if folder.is_dir():
            tokens = files_in(folder, lambda name: name.lower().endswith(SUFFIXES))
            plain = [file for file in tokens if "lemma" not in file.name.lower()]
            if plain:
                return plain[0]
    return None


def _captions(file: Place) -> tuple[dict[str, list[str]], int]:
    """Captions of each picture in the order of their numbers, and how many lines are none."""
    found: dict[str, list[tuple[int, str]]] = {}
    broken = lines = 0
    for line in decoded(file.read_bytes()).split("\n"):
        if not line.strip():
            continue
        lines += 1
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is None:
            broken += 1
            continue
        found.setdefault(match[1].strip(), []).append((int(match[2][:9]), match[3].strip()))
    if not found or broken > _SHARE * lines:
        raise DataError(
            f"{broken} of the {lines} lines of {file} are no captions",
            wanted="name.jpg#0, a tab and a caption on each line",
        )
    return {name: [text for _, text in sorted(texts)] for name, texts in found.items()}, broken


def _splits(folder: Place) -> tuple[dict[str, str], list[str]]:
    """The split of each picture, and the lists that tell it."""
    splits: dict[str, str] = {}
    lists = []
    for path in files_in(folder, lambda name: bool(_LIST.search(name))):
        match = _LIST.search(path.name)
        if match:
            lists.append(str(path.name))
            names = decoded(path.read_bytes()).split()
            splits |= dict.fromkeys(names, _SPLITS[match[1].lower()])
    return splits, lists


def _items(
    file: str, captions: dict[str, list[str]], splits: dict[str, str], pictures: Pictures
) -> Iterator[Item]:
    for name, texts in captions.items():
        yield Item(name, f"{file}: {name}", pictures.place(_one(name)), tuple(texts), split=splits.get(name))


def _one(name: str) -> Sequence[str]:
    return (name,)
