"""A folder of pictures: captions in files of the same name, classes and splits by the names of its folders.

`train/cat/1.jpg` has a split and a class, `cat/1.jpg` a class; folders named by numbers of four digits and
more (shards, years) or by what they hold (`images`) are no classes.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from limner.data.sources.address import is_remote
from limner.data.sources.beside import SPLITS, Place, counted
from limner.data.sources.columns import CAPTION_COLUMNS
from limner.data.sources.item import Guess, ImportOptions, Item, fields_of
from limner.data.sources.rowfiles import SUFFIXES, is_picture_path
from limner.data.sources.rows import as_tuple, writable_name
from limner.data.sources.tars import decoded
from limner.errors import DataError

_NO_CLASS: Final = re.compile(r"\d{4,}.*|images?|imgs?|pictures|photos?|data|jpe?gs?|pngs?", re.IGNORECASE)


@dataclass(frozen=True)
class _Picture:
    """A picture, its path below the folder, and the files that may describe it, the most telling first."""

    path: Place
    name: str
    beside: tuple[Place, ...]


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a folder for pictures.

    Args:
        path: of anything.
        options: with `kind` "classes" the folders right above the pictures are classes, with "folder" none
            is.
    Raises: DataError when there is no picture in it.
    """
    if not path.is_dir():
        return None
    files = dict(_walk(path))
    pictures = [_Picture(p, name, _beside(name, files)) for name, p in files.items() if is_picture_path(name)]
    if not pictures:
        raise DataError(
            f"no pictures among the {len(files)} files of {path}", wanted="*.jpg, *.png, *.webp …"
        )
    depth, splits = _depth(pictures), _are_splits(pictures)
    classes = depth is not None if options.kind is None else options.kind == "classes"
    if options.kind == "folder":
        splits = False
    described = {one for picture in pictures for one in picture.beside}
    others = [name for name, p in files.items() if not is_picture_path(name) and p not in described]
    items = partial(_items, pictures, splits, classes)
    lines = _lines(pictures, splits, classes, others)
    kind = "classes" if classes else "folder"
    return Guess(str(path), kind, tuple(lines), tuple(islice(items(), 3)), len(pictures), items)


def _walk(folder: Place) -> Iterator[tuple[str, Place]]:
    """Every file below a folder with its path there, in a stable order, hidden ones left out."""
    if is_remote(folder):
        yield from _walk_remote(folder, "")
        return
    for parent, folders, names in os.walk(folder):
        inside = Path(parent).relative_to(folder).as_posix()
        above = "" if inside == "." else f"{inside}/"
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield above + name, Path(parent, name)


def _walk_remote(folder: Place, above: str) -> Iterator[tuple[str, Place]]:
    inside = sorted(folder.iterdir(), key=lambda one: str(one.name))
    seen = [one for one in inside if not one.name.startswith(".")]
    folders = [one for one in seen if one.is_dir()]
    yield from ((above + one.name, one) for one in seen if one not in folders)
    for one in folders:
        yield from _walk_remote(one, f"{above}{one.name}/")


def _beside(name: str, files: dict[str, Place]) -> tuple[Place, ...]:
    """The files that describe a picture: cat.json, cat.jpg.json, cat.txt, cat.jpg.txt."""
    stem = name[: name.rindex(".")]
    tried = (base + suffix for suffix in (".json", ".txt") for base in (stem, name))
    return tuple(files[one] for one in tried if one in files)


def _depth(pictures: Sequence[_Picture]) -> int | None:
    """How many folders are above each picture when the last is its class; None when they are no classes."""
    depths = {picture.name.count("/") for picture in pictures}
    expected = 2 if _are_splits(pictures) else 1
    classes = {picture.name.split("/")[-2] for picture in pictures if "/" in picture.name}
    if depths != {expected} or len(classes) < 2 or any(_NO_CLASS.fullmatch(name) for name in classes):
        return None
    return expected


def _are_splits(pictures: Sequence[_Picture]) -> bool:
    """Whether the topmost folders are splits, all of them."""
    return all("/" in p.name and p.name.split("/")[0].lower() in SPLITS for p in pictures)


def _lines(pictures: Sequence[_Picture], splits: bool, classes: bool, others: Sequence[str]) -> Iterator[str]:
    kinds = Counter(Path(picture.name).suffix.lower() for picture in pictures)
    yield f"folder of {len(pictures)} pictures: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    described = sum(bool(picture.beside) for picture in pictures)
    yield f"captions: {described} in .txt or .json files of the same name" if described else "captions: none"
    if classes:
        labels = Counter(label for p in pictures if (label := _class_of(p.name)))
        shown = ", ".join(f"{count:,} {name}" for name, count in labels.most_common(5))
        yield f"labels: the folder's name, {len(labels)} classes: {shown}" + " …" * (len(labels) > 5)
    if splits:
        found = Counter(SPLITS[p.name.split("/")[0].lower()] for p in pictures)
        yield f"splits: the topmost folder's name, {counted(found)}"
    yield "keys: the path below the folder"
    if others:
        sheets = [name for name in others if name.lower().endswith((*SUFFIXES, ".json"))]
        said = f", such as {sheets[0]}: import that file where it describes the pictures" if sheets else ""
        yield f"not read: {len(others)} other file{'s' * (len(others) != 1)}{said}"


def _class_of(name: str) -> str | None:
    return name.split("/")[-2] if "/" in name else None


def _items(pictures: Sequence[_Picture], splits: bool, classes: bool) -> Iterator[Item]:
    for picture in pictures:
        fields: dict[str, Any] = {}
        if classes and (label := _class_of(picture.name)):
            fields["label"] = writable_name(label)
        if splits:
            fields["split"] = SPLITS[picture.name.split("/")[0].lower()]
        for path in reversed(picture.beside):
            fields |= _described(path)
        origin = writable_name(str(picture.path))
        yield Item(**{"key": writable_name(picture.name), "origin": origin, "picture": picture.path} | fields)


def _described(path: Place) -> dict[str, Any]:
    """What a file beside a picture says: the lines of a .txt, the text or the record of a .json."""
    text = decoded(path.read_bytes())
    if path.suffix.lower() == ".txt":
        return {"texts": tuple(line for line in text.splitlines() if line.strip()) or ("",)}
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return {"texts": ("",)}
    if not isinstance(found, dict):
        return {"texts": as_tuple(found)}
    fields = fields_of(found)
    caption = next((found[name] for name in CAPTION_COLUMNS if found.get(name)), None)
    if "texts" not in fields and caption is not None:
        fields["texts"] = as_tuple(caption)
    return fields
