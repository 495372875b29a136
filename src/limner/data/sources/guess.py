"""What a source of pictures is taken for, said aloud before any work is done.

A folder of pictures (captions in `.txt` or `.json` files of the same name, or none), or a file of rows with
one column of pictures, by path or as bytes, and one of captions. Column names people use are tried first,
then the values.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from limner.data.sources import blip_json, coco, flickr8k, idx, img2dataset, karpathy, tables, tars
from limner.data.sources.item import Guess, ImportOptions, Item
from limner.data.sources.rowfiles import SUFFIXES, Row, RowFile, head, is_picture_path, open_rowfile
from limner.errors import DataError

PICTURE_COLUMNS: Final = (
    *("filepath", "file_path", "file_name", "filename", "image_path", "img_path", "image", "img", "picture"),
    *("photo", "path", "file", "bytes", "jpg", "png", "webp"),
)
CAPTION_COLUMNS: Final = (
    *("caption", "captions", "text", "texts", "sentence", "title", "description", "alt_text", "alt"),
)
KEY_COLUMNS: Final = ("key", "id", "uid")


KINDS: Final = {
    "table": "another table",
    "img2dataset": "what img2dataset writes, tars or folders",
    "webdataset": "WebDataset tars",
    "idx": "IDX files, as MNIST has them",
    "flickr8k": "a Flickr token file",
    "coco": "COCO's JSON files and VQA v2's",
    "karpathy": "a Karpathy split",
    "blip": "a JSON list as BLIP has them",
    "folder": "a folder of pictures",
    "rows": "a CSV, TSV, JSON lines or Parquet file",
}
"""Every kind of source, in words."""

_RECOGNISERS: Final[dict[str, Callable[[Path, ImportOptions], Guess | None]]] = {
    "table": tables.recognise,
    "img2dataset": img2dataset.recognise,
    "webdataset": tars.recognise,
    "idx": idx.recognise,
    "flickr8k": flickr8k.recognise,
    "coco": coco.recognise,
    "karpathy": karpathy.recognise,
    "blip": blip_json.recognise,
}


def guess_source(source: str | Path, options: ImportOptions | None = None) -> Guess:
    """Look at a source and say what it is taken for; nothing is written and no picture opened.

    Raises: DataError when there is nothing to import, or the columns cannot be told.
    """
    path, options = Path(source), options or ImportOptions()
    if options.kind is not None and options.kind not in KINDS:
        raise DataError(f"no source is of kind {options.kind!r}", wanted=", ".join(KINDS))
    asked = (options.kind,) if options.kind else tuple(_RECOGNISERS)
    for kind in asked:
        guess = _RECOGNISERS[kind](path, options) if kind in _RECOGNISERS and path.exists() else None
        if guess is not None:
            return guess
    if options.kind in _RECOGNISERS and path.exists():
        raise DataError(
            f"{path} is not {KINDS[options.kind]}", hint="leave out --kind to see what it is taken for"
        )
    if path.is_dir():
        return _guess_folder(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist", wanted="a folder of pictures or a file of rows")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{path} is of no kind that can be imported", wanted=f"a folder, or {', '.join(SUFFIXES)}"
        )
    return _guess_rows(open_rowfile(path, options.separator, options.encoding), options)


# ---- folders


def _guess_folder(folder: Path) -> Guess:
    files = list(_walk(folder))
    pictures = [path for path in files if is_picture_path(path.name)]
    if not pictures:
        raise DataError(
            f"no pictures among the {len(files)} files of {folder}", wanted="*.jpg, *.png, *.webp …"
        )
    present = set(files)
    sidecars = {path: beside for path in pictures if (beside := _sidecar(path, present))}
    kinds = Counter(path.suffix.lower() for path in pictures)
    others = len(files) - len(pictures) - len(set(sidecars.values()))
    lines = [
        f"folder of {len(pictures)} pictures: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
        f"captions: {len(sidecars)} in .txt or .json files of the same name"
        if sidecars
        else "captions: none",
        "keys: the path below the folder",
        *([f"not read: {others} other files"] if others else []),
    ]
    items = partial(_folder_items, folder, pictures, sidecars)
    return Guess(str(folder), "folder", tuple(lines), tuple(islice(items(), 3)), len(pictures), items)


def _folder_items(folder: Path, pictures: Sequence[Path], sidecars: dict[Path, Path]) -> Iterator[Item]:
    for path in pictures:
        texts = _read_sidecar(sidecars[path]) if path in sidecars else ()
        yield Item(_writable(path.relative_to(folder).as_posix()), _writable(str(path)), path, texts)


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder in a stable order, hidden ones left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _sidecar(picture: Path, present: set[Path]) -> Path | None:
    """The caption file of a picture: cat.txt, cat.json, cat.jpg.txt or cat.jpg.json."""
    of_stem = [picture.with_suffix(suffix) for suffix in (".txt", ".json")]
    of_name = [picture.with_name(picture.name + suffix) for suffix in (".txt", ".json")]
    return next((path for path in (*of_stem, *of_name) if path in present), None)


def _read_sidecar(path: Path) -> tuple[Any, ...]:
    """Lines of a .txt; a text, a list of texts or an object with a caption in a .json; "" if broken."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if path.suffix == ".txt":
        return tuple(line for line in text.splitlines() if line.strip()) or ("",)
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return ("",)
    if isinstance(found, dict):
        found = next((found[name] for name in CAPTION_COLUMNS if found.get(name)), "")
    return _as_tuple(found)


# ---- files of rows


@dataclass(frozen=True)
class _Columns:
    """Which column of a file of rows means what, and where its paths start."""

    picture: str
    caption: str | None
    key: str | None
    embedded: bool
    base: Path


def _guess_rows(file: RowFile, options: ImportOptions) -> Guess:
    columns = _choose_columns(file, head(file, 20), options)
    joined = not (columns.key or columns.embedded)
    where = "embedded" if columns.embedded else f"paths from {columns.base}"
    lines = [
        f"file of rows: {file.path}",
        *file.guessed,
        f"pictures: column {columns.picture!r}, {where}",
        f"captions: column {columns.caption!r}" if columns.caption else "captions: none",
    ]
    if columns.key:
        lines.append(f"keys: column {columns.key!r}")
    else:
        lines.append(
            "keys: the path; rows of one path become one picture" if joined else "keys: the row number"
        )
    read = partial(_row_items, file, columns)
    items = partial(_joined, read) if joined else read
    return Guess(
        str(file.path),
        "rows",
        tuple(lines),
        tuple(islice(read(), 3)),
        None if joined else file.num_rows,
        items,
    )


def _choose_columns(file: RowFile, sample: Sequence[Row], options: ImportOptions) -> _Columns:
    for name in (options.picture_column, options.caption_column, options.key_column):
        if name is not None and name not in file.columns:
            raise DataError(f"{file.path} has no column {name!r}", wanted=", ".join(file.columns))
    with_pictures = (name for name in file.columns if _holds_pictures(sample, name))
    picture = options.picture_column or _known(file, PICTURE_COLUMNS) or next(with_pictures, None)
    if picture is None:
        raise DataError(
            f"no column of {file.path} seems to hold pictures",
            wanted=f"paths or encoded bytes in one of {', '.join(file.columns)}",
            hint="name it: --picture-column",
        )
    values = [row[picture] for row in sample if row[picture] is not None]
    if values and all(isinstance(v, str) and v.startswith(("http://", "https://")) for v in values):
        raise DataError(
            f"column {picture!r} of {file.path} holds web addresses",
            wanted="files on this machine",
            hint="download them first, with img2dataset for instance",
        )
    rest = [name for name in file.columns if name != picture]
    wordy = max(rest, key=lambda name: _mean_words(sample, name), default=None)
    if wordy is not None and _mean_words(sample, wordy) < 1.5:
        wordy = None
    caption = options.caption_column or _known(file, CAPTION_COLUMNS, but=picture) or wordy
    return _Columns(
        picture=picture,
        caption=caption,
        key=options.key_column or _known(file, KEY_COLUMNS, but=picture),
        embedded=any(_embedded(value) is not None for value in values),
        base=options.base or file.path.parent,
    )


def _known(file: RowFile, names: Sequence[str], but: str | None = None) -> str | None:
    """The first column whose name people use for this, whatever its case."""
    spelt = {column.lower(): column for column in file.columns if column != but}
    return next((spelt[name] for name in names if name in spelt), None)


def _holds_pictures(sample: Sequence[Row], name: str) -> bool:
    values = [row[name] for row in sample if row[name] is not None]
    likely = [_embedded(v) is not None or (isinstance(v, str) and is_picture_path(v)) for v in values]
    return bool(likely) and sum(likely) > len(likely) / 2


def _mean_words(sample: Sequence[Row], name: str) -> float:
    texts = [row[name] for row in sample if isinstance(row[name], str) and not is_picture_path(row[name])]
    return sum(len(text.split()) for text in texts) / max(1, len(sample))


def _embedded(value: Any) -> bytes | None:
    """Encoded bytes as a column may hold them: plain, or in the struct Hugging Face's `datasets` writes."""
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) else None


def _row_items(file: RowFile, columns: _Columns) -> Iterator[Item]:
    names = list(dict.fromkeys(n for n in (columns.picture, columns.caption, columns.key) if n))
    if columns.key:
        _refuse_repeated(file, columns.key)
    for number, (origin, row) in enumerate(file.rows(names)):
        if row is None:
            yield Item(f"{file.path.stem}-{number:08d}", origin, None)
            continue
        texts = _as_tuple(row[columns.caption]) if columns.caption else ()
        picture, name = _picture(row[columns.picture], columns.base)
        if columns.key and row[columns.key] is not None:
            name = str(row[columns.key])
        elif columns.embedded or not name:
            name = f"{file.path.stem}-{number:08d}"
        yield Item(_writable(name), origin, picture, texts)


def _picture(value: Any, base: Path) -> tuple[Path | bytes | None, str]:
    """What a cell of the picture column means, and its name."""
    data = _embedded(value)
    if data is not None:
        return data, ""
    if isinstance(value, dict):
        value = value.get("path")
    if not isinstance(value, str) or not value.strip():
        return None, ""
    path = Path(value.strip().replace("\\", "/"))
    return base / path, path.as_posix()


def _joined(read: Callable[[], Iterator[Item]]) -> Iterator[Item]:
    """One item for each picture: rows that name the same file bring it several texts."""
    found: dict[str, Item] = {}
    for item in read():
        first = found.get(item.key)
        found[item.key] = first._replace(texts=first.texts + item.texts) if first else item
    yield from found.values()


def _refuse_repeated(file: RowFile, column: str) -> None:
    counts = Counter(row[column] for _, row in file.rows([column]) if row is not None)
    repeated = [f"{key!r} ({count} times)" for key, count in counts.items() if count > 1 and key is not None]
    if repeated:
        raise DataError(
            f"{len(repeated)} keys in column {column!r} of {file.path} stand more than once: "
            + ", ".join(repeated[:5]),
            wanted="one row a key",
            hint="name another column: --key-column",
        )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _writable(name: str) -> str:
    """A file name as text that any table can hold, odd bytes escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
