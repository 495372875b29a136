"""Statements about two pictures, true or false: a column of the pairs table, beside pictures stored once.

A row's `statements` name the right picture by its key; the row's own is the left one, and a statement without
another key is about this picture alone. A table without the column says the same where its rows are labelled
true or false: each of their texts is such a statement.

Source: Suhr et al. 2019 (NLVR2, arXiv 1811.00491); Suhr et al. 2017 (NLVR, ACL).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from limner.data.table import Table
from limner.errors import DataError

STATEMENT: Final = pa.struct([("other_key", pa.string()), ("text", pa.string()), ("truth", pa.bool_())])
COLUMN: Final = "statements"
TRUTHS: Final = ("false", "true")
"""What a statement can be, in the order of a model's logits."""


class Stated(NamedTuple):
    """A statement of a table.

    Args:
        left: position of the row that carries it.
        right: position of the other picture; `left` where it is about one.
        key: of the row, and which of its statements this is: "dev-12#0".
        text: the sentence.
        truth: whether it holds.
    """

    left: int
    right: int
    key: str
    text: str
    truth: bool


def stated(table: Table, where: str | None = None) -> list[Stated]:
    """Every statement of some rows; the other picture may be any row of the table.

    Args:
        table: with the column, or with rows labelled true and false.
        where: only rows this SQL filter holds for.
    Raises: DataError when there is no statement, or one names a picture that is not there.
    """
    keys = table.column("key")
    rows = [(int(row), keys[row]) for row in table.positions(where)]
    found = list(_written(table, rows, keys, where) if table.has(COLUMN) else _labelled(table, rows, where))
    if not found:
        raise DataError(
            f"{table.path} holds no statement" + (f" where {where}" if where else ""),
            wanted="a column `statements`, or rows labelled true and false whose texts are statements",
            hint=f"limner table {table.path} --statements FILE brings NLVR2's own files",
        )
    return found


def _written(
    table: Table, rows: Sequence[tuple[int, str]], keys: Sequence[str], where: str | None
) -> Iterator[Stated]:
    place = {key: position for position, key in enumerate(keys)}
    for (row, key), statements in zip(rows, table.column(COLUMN, where), strict=True):
        for number, one in enumerate(statements or ()):
            other = one["other_key"] or key
            if other not in place:
                raise DataError(
                    f"row {key!r} of {table.path} has a statement about {other!r}", wanted="the key of a row"
                )
            yield Stated(row, place[other], f"{key}#{number}", one["text"], one["truth"])


def _labelled(table: Table, rows: Sequence[tuple[int, str]], where: str | None) -> Iterator[Stated]:
    columns = zip(rows, table.column("texts", where), table.column("label", where), strict=True)
    for (row, key), texts, label in columns:
        if (label or "").lower() in TRUTHS:
            for number, text in enumerate(texts or ()):
                yield Stated(row, row, f"{key}#{number}", text, label.lower() == "true")


def add_statements(table: Table, path: str | Path) -> Table:
    """Add the column from a file of statements, as one new version.

    Args:
        table: holds the pictures; keys are file names, in folders or not, with their suffix or without.
        path: JSON list or JSON lines of `{images: [left, right], sentence, label}` (BLIP's) or
            `{identifier, sentence, label}` (NLVR2's, whose pictures are called `…-img0`, `…-img1`).
    Raises: DataError when a line is none of these, or names a picture that is not there.
    """
    places = _places(table.column("key"))
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in table.column("key")}
    for number, line in enumerate(_lines(Path(path))):
        left, right, text, truth = _statement(line, f"{path} entry {number}")
        for name in (left, right):
            if not places.get(name):
                raise DataError(
                    f"{path} entry {number} names the picture {name!r}",
                    wanted=f"one of the {table.num_rows:,} pictures of {table.path}",
                    hint="import the folder of its pictures first",
                )
        found[places[left]].append({"other_key": places[right], "text": text, "truth": truth})
    column = pa.array(list(found.values()), pa.list_(STATEMENT))
    columns = pa.table({"key": pa.array(list(found), pa.string()), COLUMN: column})
    return table.add_columns(columns, f"statements of {Path(path).name}")


def _places(keys: Sequence[str]) -> dict[str, str]:
    """The key that each spelling means; "" where two pictures share one."""
    found: dict[str, str] = {}
    for key in keys:
        for name in {key, *_spellings(key)}:
            found[name] = "" if found.get(name, key) != key else key
    return found | {key: key for key in keys}


def _spellings(key: str) -> list[str]:
    bare = key.rpartition("/")[2]
    return [bare, bare.rpartition(".")[0] or bare]


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        yield from json.loads(text) if text.lstrip().startswith("[") else map(json.loads, text.splitlines())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", wanted="a JSON list, or one JSON object a line"
        ) from error


def _statement(line: Mapping[str, Any], place: str) -> tuple[str, str, str, bool]:
    """Left and right picture, the sentence, whether it holds."""
    images, identifier = line.get("images"), line.get("identifier")
    if not images and isinstance(identifier, str):
        pair = identifier.rpartition("-")[0]
        images = [f"{pair}-img0", f"{pair}-img1"]
    truth = str(line.get("label")).lower()
    if not images or len(images) != 2 or not line.get("sentence") or truth not in TRUTHS:
        raise DataError(
            f"{place} is no statement about two pictures",
            wanted='{"images": [LEFT, RIGHT], "sentence": …, "label": "True" or "False"}, or an identifier',
        )
    names = [_spellings(str(name))[1] for name in images]
    return names[0], names[1], str(line["sentence"]), truth == "true"
