"""What every kind of source gives: items, and the guess that made them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from limner.config import Config
from limner.data.intake import Limits, RemotePath
from limner.errors import PictureError


class ImportOptions(Config):
    """What overrides a guess, and what is refused.

    Args:
        kind: take the source for this, see `KINDS` in `limner.data.sources`; guessed by default.
        picture_column: holds paths or encoded pictures.
        caption_column: holds a text, or a list of texts.
        key_column: holds a unique name; by default the picture's path.
        label_column: holds a class name.
        split_column: holds the name of a split.
        keep: further columns that come along, as text, under their own names.
        separator: of a CSV.
        encoding: of a text file.
        base: folder that relative paths start from; by default the folder of the file.
        source: name of the source in the table; by default its address as given.
        licence: of rows that bring none.
        split: of rows that bring none.
        limits: of the intake.
        max_bad: share of the rows that may be refused, [0, 1].
    """

    kind: str | None = None
    picture_column: str | None = None
    caption_column: str | None = None
    key_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    keep: tuple[str, ...] = ()
    separator: str | None = None
    encoding: str | None = None
    base: Path | None = None
    source: str | None = None
    licence: str | None = None
    split: str | None = None
    limits: Limits = Limits()
    max_bad: float = 0.05


Question = tuple[str, tuple[str, ...]]
Box = tuple[float, float, float, float, str]


class Item(NamedTuple):
    """One row of a source before its picture is opened.

    Args:
        key: unique name within its source.
        origin: where it came from, for people.
        picture: path, encoded bytes or pixels; None when the row itself is broken or `refused` says why.
        texts: as they stand in the source.
        label: class name.
        split: name of its split.
        source: provenance that the row itself brings; None is the source being imported.
        licence: of the picture.
        questions: (question, answers) pairs.
        boxes: (x0, y0, x1, y1, label), pixels of the picture.
        refused: why the source itself says that there is no picture.
        kept: what the columns of `ImportOptions.keep` say, in their order; empty where there are none.
    """

    key: str
    origin: str
    picture: RemotePath | Path | bytes | np.ndarray | None
    texts: tuple[Any, ...] = ()
    label: str | None = None
    split: str | None = None
    source: str | None = None
    licence: str | None = None
    questions: tuple[Question, ...] = ()
    boxes: tuple[Box, ...] = ()
    refused: PictureError | None = None
    kept: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Guess:
    """What a source was taken for.

    Args:
        source: its address, as given.
        kind: short code, one of `KINDS`.
        lines: the guess in words, one fact a line.
        examples: its first items, at most three.
        count: items in all, None where only reading them would tell.
        items: reads them, from the start each time it is called.
    """

    source: str
    kind: str
    lines: tuple[str, ...]
    examples: tuple[Item, ...]
    count: int | None
    items: Callable[[], Iterator[Item]]


def fields_of(row: dict[str, Any]) -> dict[str, Any]:
    """What a record that uses the table's own names says of a row, as fields of an `Item`.

    A sidecar, a `metadata.jsonl` line, a JSON in a tar or a Parquet row written by `limner export` brings
    `key, texts, label, split, source, licence, questions, boxes` under these names; what is missing, an
    empty string or of another type is left out. Questions may also be called `vqa`, or be plain strings with
    as many `answers` beside them.
    """
    found: dict[str, Any] = {}
    for name in ("key", "label", "split", "source", "licence"):
        if isinstance(row.get(name), str) and row[name]:
            found[name] = row[name]
    if isinstance(row.get("texts"), (list, tuple)):
        found["texts"] = tuple(row["texts"])
    asked = _side_by_side(row) or _objects(row.get("questions") or row.get("vqa"))
    questions = [q for q in asked if isinstance(q.get("question"), str)]
    if questions:
        found["questions"] = tuple((q["question"], _answers(q.get("answers"))) for q in questions)
    boxes = [box for box in _objects(row.get("boxes")) if _is_box(box)]
    if boxes:
        found["boxes"] = tuple(
            (*(float(box[side]) for side in _SIDES), _label(box.get("label"))) for box in boxes
        )
    return found


def _side_by_side(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Questions in one list and answers in another, as objects."""
    questions, answers = row.get("questions"), row.get("answers")
    if not isinstance(questions, (list, tuple)) or not isinstance(answers, (list, tuple)):
        return []
    if len(questions) != len(answers) or not all(isinstance(one, str) for one in questions):
        return []
    return [
        {"question": question, "answers": [answer] if isinstance(answer, str) else answer}
        for question, answer in zip(questions, answers, strict=True)
    ]


def as_text(value: Any) -> str | None:
    """A cell as a text; None where it is empty or no plain value."""
    if value is None or isinstance(value, (list, dict, bytes)):
        return None
    return str(value).strip() or None


_SIDES = ("x0", "y0", "x1", "y1")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, (list, tuple)) else []


def _is_box(box: dict[str, Any]) -> bool:
    """Whether a box has four numbers, none of them NaN or beyond any picture."""
    return all(isinstance(box.get(side), (int, float)) and abs(box[side]) < 1e9 for side in _SIDES)


def _answers(value: Any) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, (list, tuple)) else ()


def _label(value: Any) -> str:
    return value if isinstance(value, str) else ""
