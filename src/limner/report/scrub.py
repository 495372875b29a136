"""A table's preflight on one self-contained HTML page: what is in it, what is odd, what to do about it.

Every row's columns are read; pictures are opened for a sample and for what is shown, through the one intake.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from markupsafe import Markup

from limner.data.import_result import NOT_DOWNLOADED
from limner.data.intake import REASONS
from limner.data.languages import NAMES, UNKNOWN
from limner.data.table import Table
from limner.errors import DataError
from limner.report import scrub_figures
from limner.report.page import Chart
from limner.report.rendering import count, rendered, share, write_whole
from limner.report.scrub_findings import Findings, ScrubSettings, look_at
from limner.report.scrub_sheets import Look, Progress, Sheet, open_sample, sheets, thumbnails

TEMPLATE: Final = "scrub.html.jinja"
_BARS: Final = 12
_LEAKS: Final = 24


class Finding(NamedTuple):
    """One thing to know before training.

    Args:
        level: "bad" (training or its measures go wrong), "look" (look at it), "good".
        text: what was found.
        section: anchor of the section that shows it.
        advice: what to type, "" where there is nothing to type.
    """

    level: str
    text: str
    section: str
    advice: str = ""


class Scrubbed(NamedTuple):
    """What a scrub found: everything, and what to know of it, the worst first."""

    found: Findings
    verdicts: list[Finding]


class Bar(NamedTuple):
    """A row of a chart of counts: name, number, share of the largest in [0, 1]."""

    name: str
    number: int
    length: float


def write_scrub(
    table: str | Path,
    out: str | Path,
    settings: ScrubSettings | None = None,
    progress: Progress = lambda done, total: None,
) -> Scrubbed:
    """Look at a table and write what there is to find as one HTML page.

    Args:
        table: folder of a pairs table.
        out: the page; it appears when it is whole.
        settings: how closely to look.
        progress: told the pictures opened and in all.
    Returns: what was found, and what to know of it.
    Raises: DataError when there is no such table, no row to look at, or no place for the page.
    """
    out = Path(out)
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else "has no folder to be in"
        raise DataError(f"{out} {what}", wanted="a file for the page", hint="--out scrub.html")
    opened, settings = Table.open(table), settings or ScrubSettings()
    found = look_at(opened, settings)
    look = open_sample(opened, found, settings, progress)
    said = verdicts(opened, found, look)
    write_whole(out, _page(opened, found, look, said, settings))
    return Scrubbed(found, said)


def _page(table: Table, found: Findings, look: Look, said: list[Finding], settings: ScrubSettings) -> str:
    """The page as text."""
    shown = sheets(table, found, look, settings)
    leaks = found.leaks[:_LEAKS]
    place = {key: row for row, key in enumerate(found.columns["key"])}
    return rendered(
        TEMPLATE,
        title=table.path.name,
        when=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
        found=found,
        columns=found.columns,
        settings=settings,
        version_of_table=table.version,
        sampled=len(look.rows),
        tiles=tiles(found),
        verdicts=said,
        sheets=shown,
        charts=charts(found, look),
        one_size=_one_size(found),
        languages=bars({NAMES.get(code, code): n for code, n in found.languages.items()}),
        counts={name: bars(counts) for name, counts in found.counts.items() if set(counts) != {"(none)"}},
        empty_columns=[name for name, counts in found.counts.items() if set(counts) == {"(none)"}],
        leaks=[[(place[key], split) for key, split in zip(*leak, strict=True)] for leak in leaks],
        reasons=REASONS | {NOT_DOWNLOADED: "the downloader did not get it"},
        pictures=thumbnails(table, found, _rows_shown(found, shown, [place[leak.keys[0]] for leak in leaks])),
    )


def _rows_shown(found: Findings, shown: list[Sheet], leaks: list[int]) -> list[int]:
    """Rows whose pictures the page holds."""
    groups = found.duplicates.exact_groups + found.duplicates.near_groups
    return [
        *leaks,
        *(one.row for sheet in shown for one in sheet.odd),
        *(row for repeat in found.texts.repeats for row in repeat.rows),
        *(group.rows[0] for group in found.duplicates.exact_groups),
        *(row for group in groups[len(found.duplicates.exact_groups) :] for row in group.rows),
    ]


def tiles(found: Findings) -> list[tuple[str, str, str]]:
    """The numbers to remember: value, label, how to read it."""
    texts, twice = found.texts, found.duplicates
    made = [
        (count(found.rows), "pictures", f"rows of {count(found.total)} in the table"),
        (count(texts.count), "texts", f"{count(texts.distinct)} different ones"),
        (share(texts.shared), "say little", "of the texts stand on five pictures or more"),
        (
            count(found.without_text),
            "without a text",
            share(found.without_text / found.rows) + " of the rows",
        ),
        (count(twice.exact), "exact copies", share(twice.exact / found.rows) + " of the rows"),
        (count(twice.near), "near copies", "rows that look like an earlier one"),
        (count(len(found.leaks)), "leaks", "pictures in more than one split"),
    ]
    told = sum(found.languages.values()) - found.languages.get(UNKNOWN, 0)
    if told:
        note = f"of {count(told)} texts long enough to tell their language"
        made.append((count(found.not_english), "not English", note))
    if found.refused:
        made.append(
            (count(found.refused.total), "refused", "by the import; they are in the quarantine table")
        )
    return made


def verdicts(table: Table, found: Findings, look: Look) -> list[Finding]:
    """What to know before training, the worst first."""
    twice, texts, made = found.duplicates, found.texts, []
    if found.leaks:
        text = (
            f"{count(len(found.leaks))} pictures stand in more than one split: measures on them test memory."
        )
        made.append(Finding("bad", text, "leaks", "limner import … --splits train=0.8,val=0.1,test=0.1"))
    if look.broken:
        text = f"{count(len(look.broken))} of {count(len(look.rows))} pictures opened cannot be."
        made.append(Finding("bad", text, "sheet-broken"))
    if found.without_text:
        text = f"{count(found.without_text)} pictures have no text; training on pairs leaves them out."
        made.append(Finding("look", text, "texts", f"limner capfilt {table.path}"))
    if texts.shared > 0.05:
        text = (
            f"{share(texts.shared)} of the texts stand on five pictures or more: they describe none of them."
        )
        made.append(Finding("bad" if texts.shared > 0.3 else "look", text, "repeats"))
    if twice.exact + twice.near:
        text = f"{count(twice.exact)} rows are exact copies of others, {count(twice.near)} look like others."
        made.append(Finding("look", text, "duplicates", "limner import … --drop-duplicates exact"))
    if found.refused:
        text = f"{count(found.refused.total)} pictures were refused by the import."
        made.append(Finding("look", text, "refused"))
    if set(found.counts["licence"]) == {"(none)"}:
        made.append(Finding("look", "No row says its licence.", "counts", "limner import … --licence NAME"))
    if set(found.counts["split"]) == {"(none)"}:
        made.append(
            Finding("look", "No row has a split.", "counts", "limner import … --splits train=0.9,val=0.1")
        )
    order = {"bad": 0, "look": 1}
    return sorted(made, key=lambda one: order[one.level]) or [
        Finding("good", "Nothing stands out: no leaks, no copies, a text for every picture.", "sheets")
    ]


def charts(found: Findings, look: Look) -> dict[str, list[Chart]]:
    """Section to its drawings."""
    return {"shapes": _shape_charts(found) + _light_charts(look), "lengths": _length_charts(found)}


def _shape_charts(found: Findings) -> list[Chart]:
    sizes = [
        (width, height)
        for width, height in zip(found.columns["width"], found.columns["height"], strict=True)
        if width and height
    ]
    if len(set(sizes)) < 2:
        return []
    widths, heights = zip(*sizes, strict=True)
    drawn = scrub_figures.size_chart(widths, heights, "Widths and heights")
    aspects = scrub_figures.aspect_chart([width / height for width, height in sizes], "Aspects")
    return [
        _chart(drawn, "Each dot is a size; larger dots are more pictures. Dashed: squares."),
        _chart(aspects, "Wide to the right, tall to the left."),
    ]


def _light_charts(look: Look) -> list[Chart]:
    known = ~np.isnan(look.light)
    panels = {
        "light: mean of the grey values": look.light[known].tolist(),
        "contrast: twice their standard deviation": (2 * look.contrast[known]).tolist(),
    }
    if not known.any():
        return []
    svg = scrub_figures.light_chart(panels, "Light and contrast")
    return [_chart(svg, f"Of {count(len(look.rows))} pictures that were opened.")]


def _length_charts(found: Findings) -> list[Chart]:
    lengths = []
    if found.texts.words:
        svg = scrub_figures.count_chart(found.texts.words, "words", "texts", "Words in a text")
        lengths.append(_chart(svg, "Length of the texts. A Chinese, Japanese or Korean character is a word."))
    many = [number for number, pictures in found.texts.per_picture.items() for _ in range(pictures)]
    if len(found.texts.per_picture) > 1:
        svg = scrub_figures.count_chart(many, "texts", "pictures", "Texts of a picture")
        lengths.append(_chart(svg, "How many texts a picture has."))
    return lengths


def _chart(svg: str, caption: str) -> Chart:
    return Chart(Markup(svg), caption)


def _one_size(found: Findings) -> str:
    """The size of the pictures when all have one."""
    sizes = set(zip(found.columns["width"], found.columns["height"], strict=True))
    (width, height), *others = sizes
    return "" if others or not width else f"{width:,} × {height:,}"


def bars(counts: Mapping[str, int]) -> list[Bar]:
    """The largest counts, and the rest as one."""
    shown = dict(list(counts.items())[:_BARS])
    if rest := sum(counts.values()) - sum(shown.values()):
        shown[f"{count(len(counts) - len(shown))} others"] = rest
    largest = max(shown.values(), default=1)
    return [Bar(name, number, number / largest) for name, number in shown.items()]
