"""The report of a table that CapFilt cleaned, as one self-contained HTML page. No torch, no model.

The numbers are those of `limner.suite.cleaned_report`; pictures are read for the cases that are shown.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from limner.data.table import Table
from limner.errors import DataError
from limner.report import cleaned_figures as drawn
from limner.report.cases import WITH_TRUTH, WITHOUT_TRUTH, Group, Kind, Row, groups, score
from limner.report.figures import Interval, interval_chart
from limner.report.page import Chart
from limner.report.rendering import count, number, rendered, share, write_whole

TEMPLATE: Final = "cleaned.html.jinja"
HEADS: Final = {"itm": "ITM", "itc": "ITC", "mean": "mean of both"}


class Tile(NamedTuple):
    """One number to remember: as shown, what it is, how to read it."""

    value: str
    label: str
    note: str


def _put_in(row: Row) -> float:
    """Best score of the synthetic texts that stay."""
    return max((line.score or 0.0 for line in row.synthetic if line.kept), default=0.0)


REPLACED: Final = (
    Kind(
        "replaced-best",
        "Replaced: the largest gains",
        "The web text scored lowest and what took its place highest.",
        lambda row: row.decision == "replaced",
        lambda row: score(row) - _put_in(row),
        8,
    ),
    Kind(
        "replaced-worst",
        "Replaced, but only just",
        "What was put in passed with the lowest scores: the place to look for bad replacements.",
        lambda row: row.decision == "replaced",
        _put_in,
        8,
    ),
    Kind(
        "nearly-kept",
        "Replaced, though the web text nearly passed",
        "The web texts with the highest scores that still went: the place to look for good texts lost.",
        lambda row: row.decision == "replaced" and score(row) > 0,
        lambda row: -score(row),
        8,
    ),
)
_MISTAKES: Final = ("false-drop", "missed", "wrong-caption")
_OTHERS: Final = ("dropped", "close")


def write_cleaned(out: str | Path, table: Table, report: Mapping[str, Any]) -> Path:
    """Write the page.

    Args:
        out: the HTML file; it appears when it is whole.
        table: that was cleaned.
        report: of `limner.suite.cleaned_report`.
    Raises: DataError when there is no place for the page.
    """
    out = Path(out)
    if out.is_dir() or not out.parent.is_dir():
        what = "is a folder" if out.is_dir() else "has no folder to be in"
        raise DataError(f"{out} {what}", wanted="a file for the page", hint="--out report.html")
    page = rendered(
        TEMPLATE,
        title=table.path.stem,
        table=report["table"],
        report=report,
        tiles=tiles(report),
        charts=charts(report),
        cases=case_groups(table, report),
        heads=HEADS,
    )
    return write_whole(out, page)


def tiles(report: Mapping[str, Any]) -> list[Tile]:
    """The numbers to remember."""
    ledger, novelty = report["ledger"], report["diversity"]["sets"].get("synthetic", {}).get("novelty")
    rows = f"of {count(ledger['rows'])} rows"
    made = [
        Tile(share(ledger[name] / ledger["rows"]), name, f"{count(ledger[name])} {rows}: {note}")
        for name, note in (
            ("kept", "a web text stays"),
            ("replaced", "only a synthetic text stays"),
            ("dropped", "nothing stays"),
        )
    ]
    made += [
        Tile(
            share(ledger[side]["kept"] / (ledger[side]["total"] or 1)),
            f"of {side} texts stay",
            f"{count(ledger[side]['kept'])} of {count(ledger[side]['total'])}",
        )
        for side in ("web", "synthetic")
    ]
    if novelty is not None:
        made.append(
            Tile(share(novelty), "of synthetic texts are new", "no web text of the table is the same")
        )
    for name, one in list(report["labels"].items())[:1]:
        if one["auroc"]:
            note = f"of ITM against {name}: {count(one['scored'])} labelled texts"
            made.append(Tile(number(one["auroc"]["itm"]["value"]), "AUROC", note))
    return made


def case_groups(table: Table, report: Mapping[str, Any]) -> dict[str, list[Group]]:
    """Section to its pictures."""
    column = report["texts_column"]
    others = [kind for kind in WITHOUT_TRUTH if kind.name in _OTHERS]
    mistakes = [kind for kind in WITH_TRUTH if kind.name in _MISTAKES] if table.has("truth") else []
    disputed = [
        _disputed(name, title, note, report["heads"][name])
        for name, title, note in (
            (
                "itm_alone",
                "ITM likes it, ITC does not",
                "Furthest apart by rank among the texts of their side.",
            ),
            ("itc_alone", "ITC likes it, ITM does not", "Furthest apart by rank, the other way."),
        )
    ]
    made = {
        "replaced": groups(table, REPLACED, column),
        "others": groups(table, others, column),
        "heads": groups(table, disputed, column),
    }
    return made | {"mistakes": groups(table, mistakes, column) if mistakes else []}


def _disputed(name: str, title: str, note: str, texts: Sequence[Mapping[str, Any]]) -> Kind:
    place = {one["row"]: order for order, one in reversed(list(enumerate(texts)))}
    return Kind(
        name.replace("_", "-"),
        title,
        note,
        lambda row: row.position in place,
        lambda row: place[row.position],
        len(place),
    )


def charts(report: Mapping[str, Any]) -> dict[str, list[Chart]]:
    """Section to its drawings."""
    threshold = report["made"]["cut"]["threshold"]
    return {
        "acceptance": [
            _chart(
                drawn.acceptance_chart(report["acceptance"], threshold, "Texts kept by threshold"),
                "Texts that each threshold keeps. Junk never stays. Dashed: the threshold used.",
            ),
            _chart(
                drawn.outcome_chart(report["acceptance"], threshold, "Rows by threshold"),
                "What becomes of the rows. Another threshold needs no model: limner capfilt --threshold.",
            ),
        ],
        "spread": [
            _chart(
                drawn.spread_chart(
                    report["spread"]["itm"], "ITM: match probability", "Spread of ITM", threshold
                ),
                "Match probability, by which texts are judged.",
            ),
            _chart(
                drawn.spread_chart(report["spread"]["itc"], "ITC: cosine", "Spread of ITC"),
                "Cosine of picture and text, which judges nothing unless there is a screen.",
            ),
        ],
        "decodings": _decoding_charts(report["decodings"]),
        "heads": _head_charts(report["heads"], threshold),
        "labels": _label_charts(report["labels"]),
    }


def _decoding_charts(found: Mapping[str, Any] | None) -> list[Chart]:
    if not found:
        return []
    names = {"kept": "share that stays", "itm": "mean ITM", "itc": "mean ITC", "words": "words a text"}
    panels = {
        title: {name: _as_interval(one[key]) for name, one in found["each"].items()}
        for key, title in names.items()
        if all(one[key] for one in found["each"].values())
    }
    return [_chart(interval_chart(panels, "Decodings side by side"), "Means and shares with 95 % intervals.")]


def _head_charts(found: Mapping[str, Any], threshold: float) -> list[Chart]:
    grids = {side: found[side]["grid"] for side in ("synthetic", "web") if side in found}
    if not grids:
        return []
    caption = "Each dot is a small part of the plane, larger where more texts lie. Dashed: the threshold."
    return [_chart(drawn.heads_chart(grids, threshold, "ITM against ITC"), caption)]


def _label_charts(labels: Mapping[str, Mapping[str, Any]]) -> list[Chart]:
    made = []
    known = {name: one for name, one in labels.items() if one["auroc"]}
    if known:
        panels = {
            f"AUROC against {name}": {HEADS[head]: _as_interval(area) for head, area in one["auroc"].items()}
            for name, one in known.items()
        }
        made.append(_chart(interval_chart(panels, "AUROC against labels"), "With bootstrap 95 % intervals."))
    for name, one in known.items():
        svg = drawn.calibration_chart(one["calibration"], f"Calibration against {name}")
        made.append(_chart(svg, f"Is ITM's probability true? Labels of {name}; dashed: it would be."))
    return made


def _as_interval(found: Mapping[str, float]) -> Interval:
    return Interval(found["value"], found["low"], found["high"])


def _chart(svg: str, caption: str) -> Chart:
    return Chart(Markup(svg), caption)
