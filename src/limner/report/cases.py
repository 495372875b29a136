"""Pictures worth looking at in a CapFilt'd table, the most instructive first.

With a truth column (the quickstart's scenes have one) rows are grouped by what CapFilt got right and wrong,
without one by what it did. Only the rows that are shown are read with their pictures.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image

from limner.data.intake import decode
from limner.data.table import Table
from limner.errors import DataError, PictureError

THUMBNAIL_PX = 224
CLEAN = "clean"
"""What the truth column calls a text that describes its picture."""

_WRONG = ("swapped", "junk", "wrong")

TEXTS_COLUMN = "texts"

_WEB_COLUMNS = ["itm_web", "decision_web", "reason_web"]
_SYNTHETIC_COLUMNS = ["synthetic", "itm_synthetic", "decision_synthetic", "reason_synthetic"]
_LIGHT = ["key", "decision", "reason", *_WEB_COLUMNS, *_SYNTHETIC_COLUMNS]
_TRUTH = ["truth", "truth_synthetic"]


class Line(NamedTuple):
    """One text of a picture.

    Args:
        text: as it stands in the table.
        score: ITM probability, None when the text was never scored.
        kept: whether training reads it.
        reason: why it goes, "" when it stays.
        truth: "clean", or what is wrong with it; None when nobody knows.
    """

    text: str
    score: float | None
    kept: bool
    reason: str
    truth: str | None


class Case(NamedTuple):
    """One picture with its texts.

    Args:
        key: of the row.
        picture: thumbnail as a data URI, "" when it cannot be opened.
        decision: kept, replaced or dropped.
        web: texts people wrote.
        synthetic: texts the captioner wrote.
    """

    key: str
    picture: str
    decision: str
    web: list[Line]
    synthetic: list[Line]


class Group(NamedTuple):
    """Cases that teach the same thing.

    Args:
        name: short, for anchors.
        title: heading.
        note: one sentence on what to see.
        total: rows of this group in the table.
        cases: those shown.
    """

    name: str
    title: str
    note: str
    total: int
    cases: list[Case]


class Row(NamedTuple):
    """A row of the table without its picture: where it stands, its key, its decision, its texts."""

    position: int
    key: str
    decision: str
    web: list[Line]
    synthetic: list[Line]


class Kind(NamedTuple):
    """A group before its rows are picked: which rows belong, and in what order they are shown."""

    name: str
    title: str
    note: str
    belongs: Callable[[Row], bool]
    order: Callable[[Row], float]
    shown: int


def score(row: Row, side: str = "web") -> float:
    """Highest score of the row's texts of one side; 0 without any."""
    lines = row.web if side == "web" else row.synthetic
    return max((line.score or 0.0 for line in lines), default=0.0)


def _any(lines: Sequence[Line], *, kept: bool, right: bool) -> bool:
    return any(
        line.kept is kept and line.truth is not None and (line.truth == CLEAN) is right for line in lines
    )


def _caught(row: Row) -> bool:
    return _any(row.web, kept=False, right=False)


WITH_TRUTH = (
    Kind(
        "repaired",
        "Caught and repaired",
        "The web text was wrong; the filter dropped it and a correct synthetic caption took its place.",
        lambda row: _caught(row) and _any(row.synthetic, kept=True, right=True),
        lambda row: score(row) - score(row, "synthetic"),
        12,
    ),
    Kind(
        "false-drop",
        "Mistake: a correct text dropped",
        "The web text was right, and the filter did not believe it. Surest mistakes first.",
        lambda row: _any(row.web, kept=False, right=True),
        score,
        8,
    ),
    Kind(
        "missed",
        "Mistake: a wrong text kept",
        "The web text was wrong, and the filter let it through. Surest mistakes first.",
        lambda row: _any(row.web, kept=True, right=False),
        lambda row: -score(row),
        8,
    ),
    Kind(
        "wrong-caption",
        "Mistake: a wrong caption added",
        "The captioner was not exact (a count, a colour, a place), and the filter let its text through.",
        lambda row: _any(row.synthetic, kept=True, right=False),
        lambda row: -score(row, "synthetic"),
        8,
    ),
    Kind(
        "emptied",
        "Caught, nothing put in its place",
        "The web text was wrong, and the synthetic one did not pass either: training skips the picture.",
        lambda row: _caught(row) and not any(line.kept for line in row.web + row.synthetic),
        score,
        4,
    ),
    Kind(
        "kept",
        "Kept, rightly",
        "The web text was right and stays. Closest calls first.",
        lambda row: _any(row.web, kept=True, right=True),
        score,
        4,
    ),
)
WITHOUT_TRUTH = (
    Kind(
        "replaced",
        "Replaced",
        "No web text passed the filter; a synthetic caption did. Clearest first.",
        lambda row: row.decision == "replaced",
        lambda row: score(row) - score(row, "synthetic"),
        12,
    ),
    Kind(
        "dropped",
        "Dropped",
        "Neither a web text nor a synthetic one passed: training skips these pictures.",
        lambda row: row.decision == "dropped",
        score,
        12,
    ),
    Kind(
        "close",
        "Kept, but only just",
        "These web texts passed with the lowest scores: the place to look for texts that should have gone.",
        lambda row: row.decision == "kept",
        score,
        12,
    ),
)

_BY_NAME = {kind.name: kind for kind in (*WITH_TRUTH, *WITHOUT_TRUTH)}
WITH_WEB_TRUTH = tuple(_BY_NAME[name] for name in ("replaced", "false-drop", "missed", "emptied", "kept"))
"""Where nobody knows the truth of the synthetic texts."""


def groups(
    table: Table, kinds: Sequence[Kind] | None = None, texts_column: str = TEXTS_COLUMN
) -> list[Group]:
    """Pick the cases to show.

    Args:
        table: with the columns CapFilt adds; where `truth` and `truth_synthetic` call texts clean, swapped,
            junk or wrong, a word a text or a row, the mistakes are known.
        kinds: of groups; by what is known of the truth when None.
        texts_column: the web texts.
    Returns: groups that have rows, the most instructive first.
    Raises: DataError when the table was never through CapFilt.
    """
    rows = read_rows(table, texts_column)
    found = []
    for kind in kinds or _kinds(rows):
        members = sorted(
            (row for row in rows if kind.belongs(row)), key=lambda row: (kind.order(row), row.key)
        )
        if members:
            found.append(
                Group(kind.name, kind.title, kind.note, len(members), _cases(table, members[: kind.shown]))
            )
    return found


def _kinds(rows: Sequence[Row]) -> Sequence[Kind]:
    """The groups that can be told apart by what is known."""
    if not any(line.truth for row in rows for line in row.web):
        return WITHOUT_TRUTH
    return WITH_TRUTH if any(line.truth for row in rows for line in row.synthetic) else WITH_WEB_TRUTH


def read_rows(table: Table, texts_column: str = TEXTS_COLUMN) -> list[Row]:
    """Every row's texts with scores and decisions, without pictures."""
    needed = [*_LIGHT, texts_column]
    missing = [name for name in needed if not table.has(name)]
    if missing:
        raise DataError(
            f"{table.path} has no column {', '.join(missing)}",
            wanted="a table that CapFilt cleaned",
            hint=f"limner capfilt {table.path}",
        )
    columns = needed + [name for name in _TRUTH if table.has(name)]
    plain = (row for batch in table.batches(columns, batch_size=4096) for row in batch)
    return [_row(index, values, texts_column) for index, values in enumerate(plain)]


def _row(position: int, values: Mapping[str, Any], texts_column: str) -> Row:
    sides = [
        _lines(values, *names)
        for names in (
            (texts_column, *_WEB_COLUMNS, "truth"),
            (*_SYNTHETIC_COLUMNS, "truth_synthetic"),
        )
    ]
    return Row(position, values["key"], values["decision"], *sides)


def _lines(
    values: Mapping[str, Any], texts: str, scores: str, decisions: str, reasons: str, truths: str
) -> list[Line]:
    plain = values[texts] or []
    truth = _known(values.get(truths), len(plain))
    return [
        Line(text or "", score, decision == "keep", reason or "", known)
        for text, score, decision, reason, known in zip(
            plain, values[scores], values[decisions], values[reasons], truth, strict=True
        )
    ]


def _known(said: Any, texts: int) -> list[str | None]:
    """What a truth column says of each text of a row; None where it says something else than a truth."""
    words = said if isinstance(said, list) else [said] * texts
    if len(words) != texts:
        return [None] * texts
    return [word if word in (CLEAN, *_WRONG) else None for word in words]


def _cases(table: Table, rows: Sequence[Row]) -> list[Case]:
    pictures = table.rows([row.position for row in rows], ["image"])
    return [
        Case(row.key, thumbnail(picture["image"]), row.decision, row.web, row.synthetic)
        for row, picture in zip(rows, pictures, strict=True)
    ]


def thumbnail(data: bytes, side_px: int = THUMBNAIL_PX) -> str:
    """A small copy of a picture as a data URI; "" when it cannot be opened.

    Args:
        data: encoded picture.
        side_px: longest side of the copy.
    """
    try:
        image = decode(data, max_side=side_px)
    except PictureError:
        return ""
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=86, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def web_scores(rows: Sequence[Row]) -> tuple[dict[str, list[float]], list[float], list[bool]]:
    """Scores of the scored web texts, for the charts.

    Returns: kind of text → scores (kinds of the truth column, or kept and dropped), every score, and for each
        whether its text is wrong (empty when the truth is not known).
    """
    lines = [line for row in rows for line in row.web if line.score is not None]
    known = any(line.truth for line in lines)
    kinds: dict[str, list[float]] = {}
    for line in lines:
        name = (line.truth or "unknown") if known else ("kept" if line.kept else "dropped")
        kinds.setdefault(name, []).append(line.score or 0.0)
    order = sorted(kinds, key=lambda name: (name not in (CLEAN, "kept"), -len(kinds[name])))
    wrong = [line.truth != CLEAN for line in lines] if known else []
    return {name: kinds[name] for name in order}, [line.score or 0.0 for line in lines], wrong
