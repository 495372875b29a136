"""What img2dataset writes: tars or folders of pictures, each with a Parquet of the status of every row.

Rows that could not be downloaded are refused as `not_downloaded` and counted apart. What the status calls a
success and the shard lacks is refused as `missing`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from limner.data.sources.beside import Place, counted, files_in
from limner.data.sources.item import Guess, ImportOptions, Item, fields_of
from limner.data.sources.rowfiles import is_picture_path
from limner.data.sources.tars import SUFFIXES, check_shards, item_of, read_samples, shards_in
from limner.errors import DataError, PictureError

NOT_DOWNLOADED: Final = "not_downloaded"
_NEEDED: Final = frozenset({"key", "status"})
_READ: Final = (
    *("key", "status", "error_message", "url", "caption", "sha256"),
    *("texts", "label", "split", "source", "licence", "questions", "boxes"),
)


@dataclass(frozen=True)
class _Shard:
    """One shard: a tar or a folder, and its status Parquet; either may be absent."""

    name: str
    content: Place | None
    status: Place | None


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a folder, or one tar in it, for the output of img2dataset.

    Raises: DataError when a shard is no tar.
    """
    shards = _shards(path)
    if not any(shard.status for shard in shards):
        return None
    tars = [shard.content for shard in shards if shard.content is not None and shard.content.is_file()]
    if tars:
        check_shards(tars)
    known = [shard for shard in shards if shard.status]
    unknown = [shard.name for shard in shards if not shard.status]
    counts: Counter[str] = Counter()
    columns: dict[str, None] = {}
    for shard in known:
        rows = _parquet(shard.status, ["status"])
        counts.update(str(status) for status in rows["status"].to_pylist())
        columns |= dict.fromkeys(_columns(shard.status))
    checked = "sha256" in columns and "original_width" not in columns
    lines = [
        f"img2dataset: {len(shards)} shards, {'tars' if tars else 'folders'} with a status Parquet",
        f"rows: {counted(counts)}",
        "captions: column 'caption'" if "caption" in columns else "captions: the shards' own",
        "keys: column 'key'; source: the web address" if "url" in columns else "keys: column 'key'",
        "sha256: checked" if checked else "sha256: of what was downloaded, not of these files: not checked",
        *([f"without a status Parquet: {len(unknown)} shards, such as {unknown[0]}"] if unknown else []),
    ]
    items = partial(_items, shards, options, checked)
    count = None if unknown else counts.total()
    return Guess(str(path), "img2dataset", tuple(lines), tuple(islice(items(), 3)), count, items)


def _shards(path: Place) -> list[_Shard]:
    """Shards of a folder in order of name, those of a tar being that tar alone."""
    if path.is_file():
        tars = shards_in(path)
        status = path.parent / f"{_stem(path.name)}.parquet"
        return [_Shard(path.name, path, status if _is_status(status) else None)] if tars else []
    if not path.is_dir():
        return []
    contents: dict[str, Place] = {}
    statuses: dict[str, Place] = {}
    for one in files_in(path, _may_be_shard):
        stem = _stem(one.name)
        if one.name.lower().endswith(".parquet"):
            statuses[stem] = one
        elif one.name.lower().endswith(SUFFIXES):
            contents[stem] = one
        elif stem.isdecimal() and one.is_dir():
            contents.setdefault(stem, one)
    paired = {stem: status for stem, status in statuses.items() if stem in contents and _is_status(status)}
    lone = statuses.keys() - contents.keys() if paired else set()
    names = sorted([*contents, *(stem for stem in lone if _is_status(statuses[stem]))])
    found = {**paired, **{stem: statuses[stem] for stem in lone}}
    return [_Shard(_name(contents, found, name), contents.get(name), found.get(name)) for name in names]


def _may_be_shard(name: str) -> bool:
    return name.lower().endswith((".parquet", *SUFFIXES)) or name.isdecimal()


def _name(contents: dict[str, Place], statuses: dict[str, Place], stem: str) -> str:
    return str((contents.get(stem) or statuses[stem]).name)


def _stem(name: str) -> str:
    lower = name.lower()
    ending = next((suffix for suffix in (*SUFFIXES, ".parquet") if lower.endswith(suffix)), "")
    return name[: len(name) - len(ending)]


def _is_status(path: Place) -> bool:
    """Whether a file is a Parquet with a key and a status; one that is cut short is not."""
    try:
        return path.is_file() and frozenset(_columns(path)) >= _NEEDED
    except (pa.ArrowException, OSError):
        return False


def _columns(path: Place) -> list[str]:
    with path.open("rb") as file:
        return list(pq.read_schema(file).names)


def _parquet(path: Place, columns: Sequence[str]) -> pa.Table:
    try:
        with path.open("rb") as file:
            return pq.read_table(file, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is broken: {error}", hint="download the shard again") from error


# ---- items


def _items(shards: Sequence[_Shard], options: ImportOptions, checked: bool) -> Iterator[Item]:
    for shard in shards:
        rows = _rows(shard.status) if shard.status else {}
        found = _from_tar if shard.content is None or shard.content.is_file() else _from_folder
        for item in found(shard, rows, options):
            row = rows.pop(item.key, {})
            yield _with_right_digest(item, row.get("sha256") if checked else None)
        for key, row in rows.items():
            yield _absent(key, row, shard)


def _rows(status: Place) -> dict[str, dict[str, Any]]:
    """Rows of a status Parquet by key."""
    own = set(_columns(status))
    rows = _parquet(status, [name for name in _READ if name in own]).to_pylist()
    return {str(row["key"]): row for row in rows}


def _from_tar(shard: _Shard, rows: dict[str, dict[str, Any]], options: ImportOptions) -> Iterator[Item]:
    if shard.content is None:
        return
    for sample in read_samples(shard.content, options):
        name = sample.key.rpartition("/")[2]
        item = item_of(sample, shard.name)
        key = next((key for key in (item.key, sample.key, name) if key in rows), None)
        row = rows.get(key, {}) if key is not None else {}
        if row and row["status"] != "success" and item.picture is None:
            continue
        yield _described(item._replace(key=key or item.key), row)


def _from_folder(shard: _Shard, rows: dict[str, dict[str, Any]], options: ImportOptions) -> Iterator[Item]:
    content: Place = shard.content
    for picture in files_in(content, is_picture_path):
        key = str(picture.stem)
        yield _described(Item(key, f"{shard.name}/{picture.name}", picture), rows.get(key, {}))


def _described(item: Item, row: dict[str, Any]) -> Item:
    """An item with what its row of the status Parquet says."""
    fields = {name: value for name, value in fields_of(row).items() if name != "key"}
    fields.setdefault("source", item.source or row.get("url"))
    if "texts" not in fields and row.get("caption") is not None and len(item.texts) < 2:
        fields["texts"] = (row["caption"],)
    url = f" {row['url']}" if row.get("url") else ""
    return item._replace(origin=item.origin + url, **fields)


def _with_right_digest(item: Item, digest: str | None) -> Item:
    """Refuse a picture whose bytes are not those that were written."""
    if not digest or item.picture is None:
        return item
    try:
        data = item.picture if isinstance(item.picture, bytes) else item.picture.read_bytes()  # type: ignore[union-attr]
    except OSError:
        return item
    if hashlib.sha256(data).hexdigest() == digest:
        return item
    given = f"broken or cut short: {item.origin}: its SHA-256 is not {digest[:16]}…"
    return item._replace(picture=None, refused=PictureError(given, reason="truncated"))


def _absent(key: str, row: dict[str, Any], shard: _Shard) -> Item:
    """A row without a picture: not downloaded, or lost since."""
    item = _described(Item(key, f"{shard.name}: {key}", None), row)
    if row["status"] != "success":
        why = row.get("error_message") or row["status"] or "no reason is given"
        return item._replace(refused=PictureError(f"not downloaded: {why}", reason=NOT_DOWNLOADED))
    given = f"no such file: {shard.name} lacks {key!r}, which its status calls a success"
    return item._replace(refused=PictureError(given, reason="missing", hint="download the shard again"))
