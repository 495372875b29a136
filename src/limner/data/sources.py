"""The import: every picture of a source through the one intake into a new pairs table, and that is the
preflight.

A picture that is refused goes to a quarantine table with a reason; a caption that says nothing (empty,
"nan", the file's name) is counted, and never becomes text. Above `max_bad` refusals the import fails and
leaves nothing.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from limner.data.guess import Guess, ImportOptions, Item, guess_source
from limner.data.intake import Picture, open_picture
from limner.data.table import SCHEMA, Table
from limner.errors import DataError, PictureError

__all__ = ["Guess", "ImportOptions", "ImportResult", "Item", "guess_source", "import_source", "useful_texts"]

QUARANTINE_SCHEMA: Final = pa.schema(
    [("key", pa.string()), ("origin", pa.string()), ("reason", pa.string()), ("message", pa.string())]
)
BROKEN_ROW: Final = "broken_row"
_NULL_WORDS: Final = frozenset({"nan", "null", "none", "n/a", "na", "nil", "undefined", "#n/a", "-", "?"})
_CAMERA_NAME: Final = re.compile(r"(img|dsc|dscn|dscf|pict?|image|photo|screenshot)[\s_-]*\d+", re.IGNORECASE)
_BATCH: Final = 32

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class ImportResult:
    """What an import did; `rows + sum(refused.values())` is what the source held.

    Args:
        table: the new table.
        rows: pictures that came in.
        refused: reason code to count.
        captions: "kept", and a count for each reason not to keep one: "empty", "null_word", "file_name",
            "repeated".
        without_text: rows that came in with no text at all.
        duplicates: rows whose encoded bytes came in before.
        quarantine: table of the refused; None when there are none.
        guess: what the source was taken for.
    """

    table: Table
    rows: int
    refused: dict[str, int]
    captions: dict[str, int]
    without_text: int
    duplicates: int
    quarantine: Path | None
    guess: Guess


def import_source(
    source: str | Path,
    out: str | Path,
    options: ImportOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportResult:
    """Turn a source into a pairs table.

    Args:
        source: folder of pictures, or a CSV, TSV, JSON lines or Parquet file.
        out: folder of the table to make; the refused go to `<out stem>.quarantine.lance` beside it.
        options: overrides of the guess, limits of the intake, share of refusals allowed.
        overwrite: replace the table that is there, at the end.
        progress: told the rows done and the rows in all, None where that is not known before the end.
    Raises: DataError when the source cannot be told, a key stands twice, no picture is left, or more than
        `max_bad` of the rows are refused; then nothing is written.
    """
    out, options = Path(out), options or ImportOptions()
    guess = guess_source(source, options)
    work = _Import(guess, options, progress or (lambda done, total: None))
    note = f"import {guess.source}"
    table = Table.write(out, work.batches(), overwrite=overwrite, note=note)
    quarantine = out.with_name(f"{out.stem}.quarantine.lance")
    if work.refused:
        rows = pa.Table.from_pylist(work.refused, schema=QUARANTINE_SCHEMA)
        Table.write(quarantine, rows.to_batches(), QUARANTINE_SCHEMA, overwrite=True, note=note)
    elif quarantine.exists():
        shutil.rmtree(quarantine)
    return ImportResult(
        table=table,
        rows=work.rows,
        refused=work.reasons(),
        captions=dict(work.captions),
        without_text=work.without_text,
        duplicates=work.rows - len(work.hashes),
        quarantine=quarantine if work.refused else None,
        guess=guess,
    )


def useful_texts(texts: Iterable[Any], name: str) -> tuple[list[str], Counter[str]]:
    """The texts that say something, stripped, and a count of each reason not to keep one.

    Args:
        texts: as a source holds them; None and NaN are no texts.
        name: of the picture's file; a caption that only repeats it says nothing.
    """
    kept: dict[str, None] = {}
    counts: Counter[str] = Counter()
    for value in texts:
        text = "" if value is None else str(value).encode("utf-8", "ignore").decode().strip()
        reason = _useless(text, name) or ("repeated" if text in kept else "kept")
        counts[reason] += 1
        if reason == "kept":
            kept[text] = None
    return list(kept), counts


def _useless(text: str, name: str) -> str:
    if not any(character.isalnum() or ord(character) > 0x2000 for character in text):
        return "null_word" if text in _NULL_WORDS else "empty"
    if text.lower() in _NULL_WORDS:
        return "null_word"
    own_name = Path(name)
    if text.lower() in (name.lower(), own_name.name.lower(), own_name.stem.lower()):
        return "file_name"
    if _CAMERA_NAME.fullmatch(Path(text).stem if " " not in text else text):
        return "file_name"
    return ""


class _Import:
    """The work of one import, and what it has counted so far."""

    def __init__(self, guess: Guess, options: ImportOptions, progress: Progress) -> None:
        self._guess, self._options, self._progress = guess, options, progress
        self.rows = self.without_text = 0
        self.captions: Counter[str] = Counter()
        self.hashes: set[str] = set()
        self.refused: list[dict[str, str]] = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The table's batches; raises at the end when too much was refused, so that nothing is written."""
        items = self._guess.items()
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            while chunk := list(islice(items, _BATCH)):
                rows = [row for row in map(self._row, chunk, pool.map(self._open, chunk)) if row]
                self._progress(self.rows + len(self.refused), self._guess.count)
                if rows:
                    yield pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
        self._judge()

    def reasons(self) -> dict[str, int]:
        """Reason code to count, most frequent first."""
        return dict(Counter(row["reason"] for row in self.refused).most_common())

    def _open(self, item: Item) -> Picture | PictureError:
        if item.picture is None:
            return PictureError("the row cannot be read or names no picture", reason=BROKEN_ROW)
        try:
            return open_picture(item.picture, self._options.limits)
        except PictureError as error:
            return error

    def _row(self, item: Item, picture: Picture | PictureError) -> dict[str, Any] | None:
        if isinstance(picture, PictureError):
            place = {"key": item.key, "origin": item.origin}
            self.refused.append({**place, "reason": picture.reason, "message": str(picture)})
            return None
        texts, counts = useful_texts(item.texts, item.key)
        self.rows += 1
        self.captions += counts
        self.without_text += not texts
        self.hashes.add(picture.sha256)
        return {
            "key": item.key,
            "image": picture.data,
            "width": picture.width,
            "height": picture.height,
            "format": picture.format,
            "sha256": picture.sha256,
            "phash": picture.phash,
            "texts": texts,
            "source": str(self._guess.source),
        }

    def _judge(self) -> None:
        bad, total = len(self.refused), self.rows + len(self.refused)
        if bad <= self._options.max_bad * total and self.rows:
            return
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons().items())
        first = "; ".join(f"{row['origin']}: {row['message'].splitlines()[0]}" for row in self.refused[:3])
        if not self.rows:
            raise DataError(
                f"none of {total} pictures in {self._guess.source} can be used ({reasons}): {first}",
                hint="look at one of these files, or name the columns and the base folder",
            )
        raise DataError(
            f"{bad} of {total} pictures in {self._guess.source} are refused ({reasons}): {first}",
            wanted=f"at most {self._options.max_bad:.0%}",
            hint="--max-bad 1 imports the good ones and puts the others in a quarantine table",
        )
