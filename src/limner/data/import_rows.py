"""One item of a source to one row of an import: opened, compared with what the table holds, named."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from limner.data.captions import useful_texts, writable
from limner.data.duplicates import telling_hash
from limner.data.import_staging import fingerprint
from limner.data.intake import Limits, identify, read_file
from limner.data.sources import ImportOptions, Item
from limner.data.table import SCHEMA, Table
from limner.errors import DataError, PictureError

BROKEN_ROW: Final = "broken_row"
REPEATED_KEY: Final = "repeated_key"
_FIELDS: Final = ("texts", "label", "licence", "questions", "boxes")
_SEEN: Final = ("width", "height", "format", "sha256", "phash")


class Identities(dict[str, str]):
    """Source addresses to what they mean here: `photos`, `./photos` and `/home/me/photos` are one place."""

    def __missing__(self, address: str) -> str:
        path = os.path.abspath(address)
        self[address] = path if "://" not in address and os.path.exists(path) else address.rstrip("/")
        return self[address]


class Known(NamedTuple):
    """What decides whether a row of the table has changed.

    Args:
        source: as the table spells it.
        split: of the row.
        sha256: of its picture.
        fields: digest of its texts and other fields.
    """

    source: str
    split: str | None
    sha256: str
    fields: bytes


@dataclass
class Existing:
    """The rows of the table that is imported into, without their pictures.

    Args:
        rows: key to what is known.
        seen: SHA-256 to what the intake said of that picture.
        phashes: of the rows, in order; None where they do not tell pictures apart.
    """

    rows: dict[str, Known] = field(default_factory=dict)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    phashes: list[str | None] = field(default_factory=list)


def existing_rows(table: Table | None, keep: Sequence[str] = ()) -> Existing:
    """Read what decides about each row of a table; None is a table without rows.

    Args:
        table: that is imported into.
        keep: further columns that this import brings.
    Raises: DataError when a column of a pairs table is missing, or one to keep holds something else.
    """
    found = Existing()
    if table is None:
        return found
    absent = [name for name in SCHEMA.names if not table.has(name)]
    if absent:
        raise DataError(
            f"{table.path} is no pairs table: it has no {', '.join(absent)}",
            hint="choose another --out, or pass --overwrite",
        )
    there = [name for name in keep if table.has(name)]
    if wrong := [name for name in there if table.schema.field(name).type != pa.string()]:
        raise DataError(
            f"{table.path} has a column {wrong[0]!r} that holds no text", hint="leave it out of --keep"
        )
    columns = ("key", "source", "split", *_SEEN, *_FIELDS, *there)
    for rows in table.batches(columns):
        for row in rows:
            row["kept"] = [row.get(name) for name in keep]
            known = Known(row["source"] or "", row["split"], row["sha256"] or "", fields_digest(row))
            found.rows[row["key"]] = known
            found.seen[known.sha256] = {name: row[name] for name in _SEEN}
            found.phashes.append(telling_hash(row["phash"], row["width"], row["height"]))
    return found


def fields_digest(row: dict[str, Any]) -> bytes:
    """Sixteen bytes that change when texts, label, licence, questions, boxes or what is kept do."""
    fields = [*(row[name] or None for name in _FIELDS), *row.get("kept", ())]
    told = json.dumps(fields, ensure_ascii=True, default=str)
    return hashlib.blake2b(told.encode(), digest_size=16).digest()


class Keys:
    """Gives each item its key in the table: its own name, or `<source>/<name>` where another source has it.

    Args:
        existing: rows of the table; an item keeps the key it has there.
        identities: of sources.
    """

    def __init__(self, existing: Existing, identities: Identities) -> None:
        self._owners = {key: identities[known.source] for key, known in existing.rows.items()}
        self._identities = identities
        self._taken: set[str] = set()
        self._named: set[tuple[str, str]] = set()

    def claim(self, source: str, name: str) -> str | None:
        """The key of an item; None when its source has named another item so before."""
        source_name, owner = PurePosixPath(source.rstrip("/")).name, self._identities[source]
        if (owner, name) in self._named:
            return None
        self._named.add((owner, name))
        tries = [name, f"{source_name}/{name}", f"{source_name}-2/{name}"]
        own = (key for key in tries if self._owners.get(key) == owner and key not in self._taken)
        more = (f"{source_name}-{number}/{name}" for number in count(3))
        free = (key for key in chain(tries, more) if key not in self._owners and key not in self._taken)
        key = next(own, None) or next(free)
        self._taken.add(key)
        return key

    def owned(self, owner: str) -> set[str]:
        """Keys of the table's rows from one source, given by its identity."""
        return {key for key, known in self._owners.items() if known == owner}

    @property
    def taken(self) -> set[str]:
        """Keys given in this import."""
        return self._taken


class Opened(NamedTuple):
    """A picture that came through the intake, or that the table holds already.

    Args:
        data: its bytes.
        seen: width, height, format, sha256 and phash.
    """

    data: bytes
    seen: dict[str, Any]


def open_item(item: Item, limits: Limits, seen: dict[str, dict[str, Any]]) -> Opened | PictureError:
    """Open the picture of an item; bytes that the table holds already are not decoded again.

    Args:
        item: of a source.
        limits: of the intake.
        seen: SHA-256 to what the intake said before.
    """
    if item.refused is not None:
        return item.refused
    if item.picture is None:
        return PictureError("the row cannot be read or names no picture", reason=BROKEN_ROW)
    try:
        picture = _bytes_of(item.picture, limits) if seen else item.picture
        if isinstance(picture, bytes) and len(picture) <= limits.max_bytes:
            before = seen.get(hashlib.sha256(picture).hexdigest()) if seen else None
            if before and before["width"] * before["height"] <= limits.max_pixels:
                return Opened(picture, before)
        made = identify(picture, limits)
    except PictureError as error:
        return error
    return Opened(made.data, {name: getattr(made, name) for name in _SEEN})


def _bytes_of(picture: Any, limits: Limits) -> Any:
    """The bytes of a file; pixels and bytes as they are."""
    return picture if isinstance(picture, (bytes, np.ndarray)) else read_file(picture, limits)


class RowMaker:
    """Makes the staged rows of an import, in the order of its items.

    Args:
        existing: rows of the table.
        keys: names them.
        options: source, licence and split of items that bring none.
        redraw: whether rows of the table without a split are to be given one, so that they count as changed.
    """

    def __init__(self, existing: Existing, keys: Keys, options: ImportOptions, redraw: bool) -> None:
        self._existing, self._keys, self._options, self._redraw = existing, keys, options, redraw

    def row(self, item: Item, address: str, opened: Opened | PictureError) -> dict[str, Any]:
        """The staged row of one item.

        Args:
            item: of a source.
            address: of that source.
            opened: what the intake said.
        """
        name = _escaped(item.key)
        source = writable(item.source or self._options.source or address)
        base = {
            "name": name,
            "source": source,
            "fingerprint": fingerprint(item),
            "origin": _escaped(item.origin),
        }
        key = self._keys.claim(source, name)
        if key is None:
            opened = PictureError(f"{source} names another picture {name!r} too", reason=REPEATED_KEY)
        if isinstance(opened, PictureError):
            why = {"reason": opened.reason, "message": _escaped(str(opened))}
            return {**base, **why, "key": key or name, "state": "refused"}
        judged = useful_texts(item.texts, item.key)
        row = {
            **base,
            **opened.seen,
            "key": key,
            "texts": judged.kept,
            "label": _text(item.label),
            "licence": _text(item.licence or self._options.licence),
            "split": _text(item.split or self._options.split),
            "questions": _questions(item) or None,
            "boxes": _boxes(item) or None,
            "kept": [_text(value) for value in item.kept],
            "lost": [{"reason": reason, "text": text} for reason, text in judged.lost],
        }
        return row | self._compared(row, opened.data)

    def _compared(self, row: dict[str, Any], data: bytes) -> dict[str, Any]:
        """Whether a row is new, changed or as it was; its picture is wanted in the first two."""
        known = self._existing.rows.get(row["key"])
        if known is None:
            return {"state": "added", "image": data}
        kept = {"source": known.source, "split": row["split"] or known.split}
        same = known.sha256 == row["sha256"] and known.fields == fields_digest(row)
        if same and kept["split"] == known.split and not (self._redraw and known.split is None):
            return {**kept, "state": "unchanged"}
        return {**kept, "state": "updated", "image": data}


def _questions(item: Item) -> list[dict[str, Any]]:
    return [
        {"question": writable(question), "answers": [writable(answer) for answer in answers]}
        for question, answers in item.questions
    ]


def _boxes(item: Item) -> list[dict[str, Any]]:
    """Boxes as the table keeps them, in 32-bit floats."""
    sides = ("x0", "y0", "x1", "y1")
    return [
        {**{side: float(np.float32(box[i])) for i, side in enumerate(sides)}, "label": writable(box[4])}
        for box in item.boxes
    ]


def _text(value: str | None) -> str | None:
    return None if value is None else writable(value)


def _escaped(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
