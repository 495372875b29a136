"""Captions of many pictures: text files beside them, or a column of a table; stopped and gone on with.

What is written is there whole or not at all, and a second run does only what is missing.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from limner.capfilt.caption import Caption, Captioned, caption_images, caption_pictures
from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.intake import decode
from limner.data.table import SCHEMA, Table
from limner.data.transforms import to_u8
from limner.errors import DataError, PictureError
from limner.models.generate import Decoding
from limner.record import drop_cut_line

Kind = Literal["txt", "json"]
Progress = Callable[[int, int], None]
"""Told of pictures done and pictures in all."""


class BulkSettings(Config):
    """How many pictures are captioned.

    Args:
        decoding: of the captions.
        seed: of words that are drawn.
        prompt: words each caption goes on from, not returned.
        count: captions a picture.
        prefix: put before each caption as it is.
        suffix: put after it.
        batch_size: pictures at a time; no caption depends on it.
    """

    decoding: Decoding = Decoding(method="beam")
    seed: int = 0
    prompt: str = ""
    count: int = 1
    prefix: str = ""
    suffix: str = ""
    batch_size: int = 32

    def dressed(self, captions: Iterable[Caption]) -> list[Caption]:
        """Captions between prefix and suffix."""
        return [one._replace(text=f"{self.prefix}{one.text}{self.suffix}") for one in captions]


# ---------------------------------------------------------------- files


def caption_files(bundle: Bundle, pictures: Iterable[Path], settings: BulkSettings) -> Iterator[Captioned]:
    """Caption picture files in the order given; a refused picture does not stop the others."""
    found = caption_pictures(
        bundle,
        pictures,
        settings.decoding,
        seed=settings.seed,
        prompt=settings.prompt,
        count=settings.count,
        batch_size=settings.batch_size,
    )
    for result in found:
        yield result._replace(captions=settings.dressed(result.captions))


def sidecar(picture: Path, kind: Kind) -> Path:
    """Where the captions of a picture go: a file of its name beside it."""
    return picture.with_suffix(f".{kind}")


def without_sidecar(pictures: Sequence[Path], kind: Kind) -> list[Path]:
    """The pictures whose sidecar is not there yet.

    Raises: DataError when two pictures would share a sidecar.
    """
    owners: dict[Path, Path] = {}
    for picture in pictures:
        other = owners.setdefault(sidecar(picture, kind), picture)
        if other != picture:
            raise DataError(
                f"{other} and {picture} would share {sidecar(picture, kind).name}",
                wanted="names that differ before the dot",
                hint="rename one, or import the folder and caption the table",
            )
    return [picture for beside, picture in owners.items() if not beside.exists()]


def write_sidecar(result: Captioned, kind: Kind) -> Path:
    """Write the captions of a picture beside it: a line each, or JSON with every log-probability."""
    beside = sidecar(Path(result.source), kind)
    if kind == "txt":
        text = "".join(caption.text + "\n" for caption in result.captions)
    else:
        text = json.dumps(caption_values(result.captions), ensure_ascii=False, indent=1) + "\n"
    unfinished = beside.with_name(f".{beside.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(beside)
    finally:
        unfinished.unlink(missing_ok=True)
    return beside


def caption_values(captions: Iterable[Caption]) -> list[dict[str, Any]]:
    """Captions as plain values."""
    return [
        {
            "text": one.text,
            "log_prob": round(one.log_prob, 4),
            "tokens": [{"piece": piece, "log_prob": round(told, 4)} for piece, told in one.tokens],
        }
        for one in captions
    ]


# ---------------------------------------------------------------- a table


class CaptionedTable(NamedTuple):
    """What became of a table.

    Args:
        table: at the version that has the column.
        captioned: rows with captions.
        refused: rows whose picture cannot be read, by reason.
        fresh: rows that passed through the model now.
    """

    table: Table
    captioned: int
    refused: dict[str, int]
    fresh: int


_TAKEN: Final = frozenset(SCHEMA.names) - {"texts"}
"""Columns of every table that hold something else than texts."""


def caption_table(
    table: Table,
    bundle: Bundle,
    settings: BulkSettings,
    column: str = "captions",
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CaptionedTable:
    """Caption the pictures of a table; captions are a column of one new version, null where there is none.

    Rows done are kept in a file beside the table until the version is made, so that a stopped run is gone on
    with. A table that has the very captions asked for is left as it is.

    Args:
        table: with `key` and `image`, at its newest version.
        bundle: a BLIP.
        settings: how.
        column: list<string>; `<column>_log_prob` stands beside it.
        overwrite: replace a column of that name.
        progress: told after each batch.
    Raises: DataError when the table is empty or without pictures, has the column already or needs it for
        something else, or has changed meanwhile.
    """
    if table.num_rows == 0:
        raise DataError(f"{table.path} has no rows", wanted="a table with pictures")
    table.rows([], ["key", "image"])
    if column in _TAKEN or not column.isidentifier():
        raise DataError(
            f"captions in a column {column!r}",
            wanted="letters, digits and _, and none of " + ", ".join(sorted(_TAKEN)),
            hint="--column captions",
        )
    identity = _identity(table, bundle, settings, column)
    before = table.record() or {}
    if before.get("identity") == identity and not overwrite:
        return CaptionedTable(table, before["captioned"], before["refused"], 0)
    if table.has(column) and not overwrite:
        raise DataError(
            f"{table.path} has a column {column!r} already", hint="--column NAME for another, or --overwrite"
        )
    partial = table.path.with_name(f"{table.path.name}.{column}-{identity}.jsonl")
    rows = _read(partial)
    kept = len(rows)
    with partial.open("a", encoding="utf-8") as file:
        for begin in range(kept, table.num_rows, settings.batch_size):
            batch = _caption_rows(table, range(begin, begin + settings.batch_size), bundle, settings)
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in batch))
            file.flush()
            rows += batch
            if progress is not None:
                progress(len(rows), table.num_rows)
    refused = dict(Counter(row["problem"] for row in rows if row["problem"]))
    captioned = len(rows) - sum(refused.values())
    record = {
        "identity": identity,
        "model": bundle.digest,
        "settings": settings.model_dump(mode="json"),
        "captioned": captioned,
        "refused": refused,
    }
    note = f"caption: {captioned} rows captioned, {sum(refused.values())} refused"
    made = table.add_columns(_columns(rows, column), note, record)
    partial.unlink()
    return CaptionedTable(made, captioned, refused, len(rows) - kept)


def _identity(table: Table, bundle: Bundle, settings: BulkSettings, column: str) -> str:
    """12 hex digits that change when a caption could: model, settings, rows."""
    told = settings.model_dump(mode="json", exclude={"batch_size"})
    hasher = hashlib.sha256(json.dumps([bundle.digest, told, column], sort_keys=True).encode())
    names = [name for name in ("key", "sha256") if table.has(name)]
    for batch in table.batches(names):
        hasher.update(json.dumps([list(row.values()) for row in batch]).encode())
    return hasher.hexdigest()[:12]


def _read(partial: Path) -> list[dict[str, Any]]:
    """Rows of an earlier run; a last line that a kill cut off is taken out."""
    if not partial.exists():
        return []
    drop_cut_line(partial)
    return [json.loads(line) for line in partial.read_bytes().splitlines()]


def _caption_rows(
    table: Table, indices: range, bundle: Bundle, settings: BulkSettings
) -> list[dict[str, Any]]:
    rows = table.rows(indices[: table.num_rows - indices.start], ["key", "image"])
    seen = [_pixels(row["image"], bundle) for row in rows]
    good = [(row["key"], found) for row, found in zip(rows, seen, strict=True) if not isinstance(found, str)]
    captions: Iterator[list[Caption]] = iter(())
    if good:
        captions = iter(
            caption_images(
                bundle,
                [pixels for _, pixels in good],
                [key for key, _ in good],
                settings.decoding,
                seed=settings.seed,
                prompt=settings.prompt,
                count=settings.count,
            )
        )
    return [
        _row(found) if isinstance(found, str) else _row(None, settings.dressed(next(captions)))
        for found in seen
    ]


def _row(problem: str | None, captions: Sequence[Caption] = ()) -> dict[str, Any]:
    texts, told = [caption.text for caption in captions], [caption.log_prob for caption in captions]
    return {"problem": problem, "texts": texts, "log_prob": told}


def _pixels(image: bytes | None, bundle: Bundle) -> np.ndarray | str:
    """Pixels as the model takes them, or why there are none."""
    try:
        return to_u8(decode(image or b"", max_side=2 * bundle.image_spec.size), bundle.image_spec)
    except PictureError as error:
        return error.reason


def _columns(rows: Sequence[dict[str, Any]], column: str) -> pa.Table:
    def values(name: str) -> list[Any]:
        return [None if row["problem"] else row[name] for row in rows]

    return pa.table(
        {
            column: pa.array(values("texts"), pa.list_(pa.string())),
            f"{column}_log_prob": pa.array(values("log_prob"), pa.list_(pa.float32())),
        }
    )
