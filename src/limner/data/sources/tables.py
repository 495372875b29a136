"""Another table of limner: all columns of a pairs table come along, the pictures as they are."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

from limner.data.sources.beside import Place
from limner.data.sources.columns import check_kept
from limner.data.sources.item import Guess, ImportOptions, Item, as_text, fields_of
from limner.data.table import SCHEMA, Table
from limner.errors import DataError

_READ = ("key", "image", "texts", "label", "split", "source", "licence", "questions", "boxes")
_BATCH = 64


def recognise(path: Place, options: ImportOptions) -> Guess | None:
    """Take a folder for a table when Lance keeps its versions in it.

    Raises: DataError when it is a table of something else than pairs.
    """
    if not (path / "_versions").is_dir():
        return None
    table = Table.open(str(path))
    absent = [name for name in ("key", "image") if not table.has(name)]
    if absent:
        raise DataError(
            f"{path} is no pairs table: it has no {' and no '.join(absent)}",
            wanted=", ".join(SCHEMA.names),
        )
    check_kept(options.keep, table.column_names, str(path))
    own = [name for name in table.column_names if name not in (*SCHEMA.names, *options.keep)]
    lines = [
        f"table: {len(table):,} rows, version {table.version}",
        f"columns: {', '.join(name for name in _READ if table.has(name))}",
        *([f"kept as they are: {', '.join(map(repr, options.keep))}"] if options.keep else []),
        *([f"left behind: {', '.join(own)}"] if own else []),
        "keys: column 'key'; source, split and licence: each row's own",
    ]
    items = partial(_items, table, options.keep)
    return Guess(str(path), "table", tuple(lines), tuple(islice(items(), 3)), len(table), items)


def _items(table: Table, keep: Sequence[str]) -> Iterator[Item]:
    columns = [*(name for name in _READ if table.has(name)), *keep]
    for rows in table.batches(columns, _BATCH):
        for row in rows:
            origin = f"{table.path.name}: {row['key']}"
            kept = tuple(as_text(row[name]) for name in keep)
            own = {"key": row["key"], "origin": origin, "picture": row["image"], "kept": kept}
            yield Item(**own | fields_of(row))
