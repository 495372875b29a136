"""Karpathy's JSON files (`dataset_coco.json`, `dataset_flickr30k.json`, `dataset_flickr8k.json`)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from limner.data.sources.beside import SPLITS, Pictures, Place, counted
from limner.data.sources.item import Guess, ImportOptions, Item
from limner.data.sources.jsonfile import objects, read_json, text_of
from limner.errors import DataError


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a JSON file whose `images` have `sentences` for a Karpathy split.

    Raises: DataError when the file is cut short, its entries are broken, or no picture is found.
    """
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    found = read_json(path)
    listed = found.get("images") if isinstance(found, dict) else None
    images = objects(listed)
    if not any("sentences" in image for image in images[:100]):
        return None
    named = [image for image in images if text_of(image.get("filename"))]
    if not named:
        raise DataError(f"no entry of `images` in {path} has a `filename`", wanted="images[].filename")
    pictures = Pictures(path, [_names(image) for image in named], options)
    counts = Counter(str(image.get("split") or "without a split") for image in named)
    texts = sum(len(_texts(image)) for image in named)
    broken = len(listed or ()) - len(named)
    lines = [
        f"Karpathy split: {len(named):,} pictures, {texts:,} captions",
        pictures.line,
        f"splits: {counted(counts)}" + ("; restval is trained on, so it is train" * ("restval" in counts)),
        "keys: the folder and the file name",
        *([f"not read: {broken} entries without a file name"] if broken else []),
    ]
    items = partial(_items, str(path.name), named, pictures)
    return Guess(str(path), "karpathy", tuple(lines), tuple(islice(items(), 3)), len(named), items)


def _names(image: dict[str, Any]) -> Sequence[str]:
    """Where a picture may be: below its own folder, or right there."""
    name, folder = str(image["filename"]), text_of(image.get("filepath"))
    return (f"{folder}/{name}", name) if folder else (name, name)


def _texts(image: dict[str, Any]) -> tuple[Any, ...]:
    sentences = objects(image.get("sentences"))
    return tuple(sentence.get("raw") for sentence in sentences)


def _items(file: str, images: Sequence[dict[str, Any]], pictures: Pictures) -> Iterator[Item]:
    for image in images:
        key, split = _names(image)[0], text_of(image.get("split"))
        yield Item(
            key=key,
            origin=f"{file}: {key}",
            picture=pictures.place(_names(image)),
            texts=_texts(image),
            split=SPLITS.get(split.lower(), split) if split else None,
        )
