"""Rows of files, CSV to Parquet, as items: pictures by path or as bytes, and whatever columns say of them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from limner.data.sources.beside import Pictures, Place, files_in, split_in
from limner.data.sources.columns import Columns, choose_columns, embedded_bytes
from limner.data.sources.item import Guess, ImportOptions, Item, as_text, fields_of
from limner.data.sources.rowfiles import SUFFIXES, Row, RowFile, head, open_rowfile
from limner.errors import DataError

_LOOKED_AT = 50


@dataclass(frozen=True)
class Sheet:
    """A file of rows that belongs to a source.

    Args:
        file: opened.
        split: of rows that name none.
        prefix: before each key that is a path.
        home: folder that paths start from; None looks for it.
    """

    file: RowFile
    split: str | None = None
    prefix: str = ""
    home: Place | None = None


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a file by its suffix, or a folder with Parquet files and no pictures, for rows.

    Raises: DataError when a file is not what its suffix says, or its columns cannot be told.
    """
    if path.is_dir():
        shards = [p for home in (path, path / "data") if home.is_dir() for p in _parquets(home)]
        return recognise_all(shards, options, str(path)) if shards else None
    return recognise_all([path], options, str(path)) if path.suffix.lower() in SUFFIXES else None


def recognise_all(paths: Sequence[Place], options: ImportOptions, source: str) -> Guess:
    """Take several files of rows with the same columns for one source.

    Raises: DataError when they cannot be read, or their columns differ or cannot be told.
    """
    files = [open_rowfile(path, options.separator, options.encoding) for path in paths]
    named = len(files) > 1
    sheets = [Sheet(file, split_in(file.path.stem) if named else None) for file in files]
    return guess_rows(sheets, options, source)


def guess_rows(sheets: Sequence[Sheet], options: ImportOptions, source: str, kind: str = "rows") -> Guess:
    """A guess of files of rows.

    Args:
        sheets: at least one.
        options: override.
        source: as given.
        kind: of the source.
    """
    first = sheets[0].file
    sample = head(first, _LOOKED_AT)
    columns = choose_columns(first, sample, options)
    for sheet in sheets[1:]:
        absent = [name for name in columns.names if name not in sheet.file.columns]
        if absent:
            raise DataError(f"{sheet.file.path} has no column {absent[0]!r}, which {first.path} has")
    known = columns.embedded or first.path.parent == sheets[0].home
    pictures = None if known else _pictures(first, columns, sample, options)
    joined = not (columns.key or columns.embedded)
    read = partial(_items, sheets, columns, pictures, options)
    counts = [sheet.file.num_rows for sheet in sheets]
    items = partial(_joined, read) if joined else read
    lines = _lines(sheets, columns, pictures, joined)
    count = None if joined or None in counts else sum(number or 0 for number in counts)
    return Guess(source, kind, tuple(lines), tuple(islice(read(), 3)), count, items)


def _parquets(folder: Place) -> list[Place]:
    return files_in(folder, lambda name: name.lower().endswith(".parquet"))


def _pictures(file: RowFile, columns: Columns, sample: Sequence[Row], options: ImportOptions) -> Pictures:
    names = [_spellings(name) for row in sample if (name := _path_in(row[columns.picture]))]
    return Pictures(file.path, names, options)


def _lines(
    sheets: Sequence[Sheet], columns: Columns, pictures: Pictures | None, joined: bool
) -> Iterator[str]:
    first = sheets[0].file
    more = f" and {len(sheets) - 1} more" if len(sheets) > 1 else ""
    yield f"file of rows: {first.path}{more}"
    yield from first.guessed
    yield f"pictures: column {columns.picture!r}, {'embedded' if columns.embedded else 'paths'}"
    if pictures is not None:
        yield pictures.line
    for what, name in (("captions", columns.caption), ("labels", columns.label), ("splits", columns.split)):
        if name or what == "captions":
            yield f"{what}: column {name!r}" if name else f"{what}: none"
    if columns.split is None and any(sheet.split for sheet in sheets):
        found = dict.fromkeys(sheet.split for sheet in sheets if sheet.split)
        yield f"splits: {', '.join(found)}, by the names of the files or their folders"
    if columns.keep:
        yield f"kept as they are: {', '.join(map(repr, columns.keep))}"
    if columns.question:
        yield f"questions: column {columns.question!r}, answers: {columns.answer or 'none'}"
    if columns.key:
        yield f"keys: column {columns.key!r}"
    else:
        yield "keys: the path; rows of one path become one picture" if joined else "keys: the row number"


# ---- items


def _items(
    sheets: Sequence[Sheet], columns: Columns, pictures: Pictures | None, options: ImportOptions
) -> Iterator[Item]:
    if columns.key:
        _refuse_repeated(sheets, columns.key)
    names = columns.names
    for sheet in sheets:
        for number, (origin, row) in enumerate(sheet.file.rows(names)):
            numbered = f"{sheet.file.path.stem}-{number:08d}"
            if row is None:
                yield Item(numbered, origin, None)
            else:
                yield _item(sheet, columns, pictures, row, origin, numbered)


def _item(
    sheet: Sheet, columns: Columns, pictures: Pictures | None, row: Row, origin: str, numbered: str
) -> Item:
    """One row as an item; it is broken where it names no picture."""
    value = row[columns.picture]
    picture, name = embedded_bytes(value), ""
    if picture is None and (path := _path_in(value)):
        name = sheet.prefix + path
        home = sheet.home or sheet.file.path.parent
        picture = pictures.place(_spellings(path)) if pictures else home / path
    if columns.key and row[columns.key] not in (None, ""):
        name = str(row[columns.key])
    elif columns.embedded or not name:
        name = numbered
    fields = fields_of({own: row[own] for own in columns.own})
    if columns.caption and "texts" not in fields:
        fields["texts"] = as_tuple(row[columns.caption])
    if columns.label:
        fields["label"] = _label(row[columns.label], sheet.file.label_names.get(columns.label))
    if columns.question and row[columns.question]:
        answers = as_tuple(row[columns.answer]) if columns.answer else ()
        fields["questions"] = ((str(row[columns.question]), tuple(map(str, answers))),)
    split = _text(row[columns.split]) if columns.split else None
    licence = _text(row[columns.licence]) if columns.licence else None
    fields["kept"] = tuple(as_text(row[name]) for name in columns.keep)
    return Item(writable_name(name), origin, picture, split=split or sheet.split, licence=licence, **fields)


def _path_in(value: Any) -> str:
    """The path in a cell, with `/` between its parts; "" when there is none."""
    if isinstance(value, dict):
        value = value.get("path")
    return value.strip().replace("\\", "/").removeprefix("./") if isinstance(value, str) else ""


def _spellings(name: str) -> tuple[str, ...]:
    """What a picture may be called: the path as given, or its last part in a folder of pictures."""
    last = name.rpartition("/")[2]
    return (name, last) if last and last != name else (name,)


def _label(value: Any, names: Sequence[str] | None) -> str | None:
    """A class as text; a number that the file has a name for is that name."""
    if isinstance(value, int) and names and 0 <= value < len(names):
        return names[value]
    return _text(value)


def _text(value: Any) -> str | None:
    return None if isinstance(value, int) and value == -1 else as_text(value)


def _joined(read: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """One item for each picture: rows that name the same file bring it several texts and questions."""
    found: dict[str, Item] = {}
    for item in read():
        first = found.get(item.key, item)
        if first is not item:
            both = first.texts + item.texts, first.questions + item.questions
            first = first._replace(texts=both[0], questions=both[1])
        found[item.key] = first
    yield from found.values()


def _refuse_repeated(sheets: Sequence[Sheet], column: str) -> None:
    counts = Counter(
        row[column] for sheet in sheets for _, row in sheet.file.rows([column]) if row is not None
    )
    repeated = [f"{key!r} ({count} times)" for key, count in counts.items() if count > 1 and key is not None]
    if repeated:
        raise DataError(
            f"{len(repeated)} keys in column {column!r} of {sheets[0].file.path} stand more than once: "
            + ", ".join(repeated[:5]),
            wanted="one row a key",
            hint="name another column: --key-column",
        )


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A list as a tuple, and one value as a tuple of one."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def writable_name(name: str) -> str:
    """A file name as text that any table can hold, odd bytes escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
