"""Contact sheets of the oddest pictures: by shape, by size, by light, and by what a model sees in them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from limner.data.intake import decode
from limner.data.table import Table
from limner.errors import PictureError
from limner.report.cases import thumbnail
from limner.report.scrub_findings import Findings, ScrubSettings, drawn, embedding_of

LOOK_PX = 64
SHEET_PX = 160
NEIGHBOURS = 10
_BATCH = 256

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Odd:
    """One picture of a sheet: its row among those looked at, and what is odd about it."""

    row: int
    why: str


@dataclass(frozen=True)
class Sheet:
    """Pictures that are odd in one way.

    Args:
        name: short, for anchors.
        title: heading.
        note: one sentence on what to see.
        odd: the oddest first.
    """

    name: str
    title: str
    note: str
    odd: list[Odd]


@dataclass(frozen=True)
class Look:
    """What the opened pictures look like; m pictures.

    Args:
        rows: m numbers of rows, in order.
        light: m means of the grey values, [0, 1].
        contrast: m standard deviations of the grey values, [0, 0.5].
        data_bytes: m sizes of the encoded pictures.
        broken: row to message, of those that cannot be opened; their light is NaN.
    """

    rows: np.ndarray
    light: np.ndarray
    contrast: np.ndarray
    data_bytes: np.ndarray
    broken: dict[int, str]


def open_sample(
    table: Table, found: Findings, settings: ScrubSettings, progress: Progress = lambda done, total: None
) -> Look:
    """Open the pictures of a sample, small.

    Args:
        table: the pictures.
        found: which rows there are.
        settings: size of the sample, and its seed.
        progress: told the pictures done and in all.
    """
    rows = drawn(found.rows, settings.sample, settings.seed)
    measures = np.full((len(rows), 3), np.nan)
    broken: dict[int, str] = {}
    for begin in range(0, len(rows), _BATCH):
        part = rows[begin : begin + _BATCH]
        for place, data in enumerate(_data(table, found, part.tolist()), begin):
            measures[place, 2] = len(data)
            try:
                measures[place, :2] = light_of(decode(data, max_side=LOOK_PX))
            except PictureError as error:
                broken[int(rows[place])] = str(error).splitlines()[0]
        progress(min(begin + _BATCH, len(rows)), len(rows))
    return Look(rows, measures[:, 0], measures[:, 1], measures[:, 2], broken)


def light_of(image: Image.Image) -> tuple[float, float]:
    """Mean and standard deviation of the grey values of a picture, [0, 1]."""
    grey = image.convert("L")
    grey.thumbnail((LOOK_PX, LOOK_PX), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float64) / 255
    return float(values.mean()), float(values.std())


def sheets(table: Table, found: Findings, look: Look, settings: ScrubSettings) -> list[Sheet]:
    """The sheets that have something to show, each picture once in a sheet.

    Args:
        table: the pictures, perhaps with embeddings.
        found: sizes and hashes.
        look: light and contrast of a sample.
        settings: pictures a sheet.
    """
    made = [*_shape_sheets(found), *_light_sheets(look), *_unlike_sheets(table, found, settings)]
    return [
        Sheet(name, title, note, picked)
        for name, title, note, odd in made
        if (picked := _each_once(odd, found, settings.examples))
    ]


def thumbnails(table: Table, found: Findings, rows: Sequence[int], side_px: int = SHEET_PX) -> dict[int, str]:
    """Small copies of some rows' pictures as data URIs; "" for one that cannot be opened."""
    wanted = sorted(set(rows))
    made: dict[int, str] = {}
    for begin in range(0, len(wanted), _BATCH):
        part = wanted[begin : begin + _BATCH]
        made |= {
            row: thumbnail(data, side_px) for row, data in zip(part, _data(table, found, part), strict=True)
        }
    return made


def _data(table: Table, found: Findings, rows: Sequence[int]) -> list[bytes]:
    positions = found.positions[list(rows)].tolist()
    return [row["image"] for row in table.rows(positions, ["image"])]


_Made = tuple[str, str, str, list[Odd]]


def _shape_sheets(found: Findings) -> list[_Made]:
    sizes = [
        (row, width, height)
        for row, (width, height) in enumerate(
            zip(found.columns["width"], found.columns["height"], strict=True)
        )
        if width and height
    ]
    if len({size[1:] for size in sizes}) < 2:
        return []
    by_aspect = sorted(sizes, key=lambda size: -max(size[1] / size[2], size[2] / size[1]))
    by_area = sorted(sizes, key=lambda size: size[1] * size[2])

    def told(chosen: Sequence[tuple[int, int, int]]) -> list[Odd]:
        return [Odd(row, f"{width:,} × {height:,}") for row, width, height in chosen]

    long = [size for size in by_aspect if max(size[1:]) >= 1.5 * min(size[1:])]
    return [
        ("shape", "Longest and narrowest", "A square crop sees only their middle.", told(long)),
        ("small", "Smallest", "Enlarged to what a model wants they are blur.", told(by_area)),
        ("large", "Largest", "They cost time at every epoch.", told(by_area[::-1])),
    ]


def _light_sheets(look: Look) -> list[_Made]:
    known = np.flatnonzero(~np.isnan(look.light))
    blank = known[np.argsort(look.contrast[known], kind="stable")]
    dark = known[np.argsort(look.light[known], kind="stable")]
    broken = [Odd(row, why) for row, why in look.broken.items()]
    return [
        ("broken", "Cannot be opened", "Training stops at such a picture.", broken),
        (
            "blank",
            "Blankest",
            "Hardly any contrast: a picture of nothing, or the drawing has gone.",
            [Odd(int(look.rows[i]), f"contrast {look.contrast[i]:.3f}") for i in blank],
        ),
        (
            "dark",
            "Darkest",
            "Perhaps transparency was laid on black once.",
            [Odd(int(look.rows[i]), f"light {look.light[i]:.3f}") for i in dark],
        ),
    ]


def _unlike_sheets(table: Table, found: Findings, settings: ScrubSettings) -> list[_Made]:
    rows = drawn(found.rows, settings.sample, settings.seed)
    name, vectors = embedding_of(table, found.positions[rows].tolist())
    if not name or len(rows) <= NEIGHBOURS:
        return []
    near = nearness(vectors)
    known = np.flatnonzero(~np.isnan(near))
    order = known[np.argsort(near[known], kind="stable")]
    note = f"Mean cosine with their {NEIGHBOURS} nearest, by {name}."
    return [("unlike", "Least like the others", note, [Odd(int(rows[i]), f"{near[i]:.2f}") for i in order])]


def nearness(vectors: Any) -> np.ndarray:
    """Mean cosine of each vector with its nearest others; NaN for a vector without direction.

    Args:
        vectors: n x e.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nothing = ~np.isfinite(unit).all(axis=1)
    cosine = np.where(nothing[:, None], 0, unit) @ np.where(nothing[:, None], 0, unit).T
    cosine[:, nothing] = -2
    np.fill_diagonal(cosine, -2)
    count = max(1, min(NEIGHBOURS, len(unit) - 1 - int(nothing.sum())))
    near: np.ndarray = np.partition(cosine, -count, axis=1)[:, -count:].mean(axis=1)
    near[nothing] = np.nan
    return near


def _each_once(odd: Sequence[Odd], found: Findings, most: int) -> list[Odd]:
    """The first few, no two of the same bytes."""
    seen: set[Any] = set()
    picked = []
    for one in odd:
        digest = found.columns["sha256"][one.row] or one.row
        if digest not in seen:
            seen.add(digest)
            picked.append(one)
        if len(picked) == most:
            break
    return picked
