"""One self-contained HTML page of a run, made from its `records.jsonl` and its table alone.

A section stands on the page when its records are there, so the same page serves a quickstart, a cleaned table
and a plain training run. Of records that tell the same thing the last one counts; headline numbers link to
theirs.

Kinds read: quickstart, environment, noise, stage, table, audit, training, heldout and comparison, which the
quickstart writes; capfilt, which CapFilt writes; run, train and evaluate, which a training run writes.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from limner.data.table import Table
from limner.errors import DataError
from limner.record import read_records
from limner.report import cases, figures
from limner.report.rendering import count, measure, number, rendered, share, signed, write_whole

PAGE_NAME = "report.html"
TEMPLATE = "page.html.jinja"
_STEPPED = {"train", "checkpoint", "resume"}


class Headline(NamedTuple):
    """One big number.

    Args:
        value: as shown.
        label: what it is.
        note: how to read it.
        record: number of its record, from 1.
    """

    value: str
    label: str
    note: str
    record: int


class Chart(NamedTuple):
    """A drawing with its caption."""

    svg: Markup
    caption: str


class Records:
    """The records of a run, with their line numbers.

    Args:
        records: in order.
    """

    def __init__(self, records: Sequence[dict[str, Any]]) -> None:
        self.numbered = [{**record, "line": line} for line, record in enumerate(records, 1)]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Every record of a kind."""
        return [record for record in self.numbered if record["kind"] == kind]

    def last(self, kind: str) -> dict[str, Any] | None:
        """The record of a kind that counts, or None."""
        found = self.all(kind)
        return found[-1] if found else None

    def latest(self, kind: str, name: str = "name") -> list[dict[str, Any]]:
        """The last record of each name, in the order in which the names first came."""
        return list({record[name]: record for record in self.all(kind)}.values())

    def shown(self) -> list[tuple[int, str]]:
        """Line number and text of the records worth reading one by one."""
        worth = (record for record in self.numbered if record["kind"] not in _STEPPED)
        return [
            (record["line"], json.dumps({k: v for k, v in record.items() if k != "line"}, ensure_ascii=False))
            for record in worth
        ]


def write_page(run: str | Path, table: str | Path | None = None) -> Path:
    """Make `report.html` of a run folder.

    Args:
        run: folder with `records.jsonl`.
        table: the table CapFilt cleaned; the one the records name by default.
    Returns: the page.
    Raises: DataError when there are no records, or the table is gone.
    """
    run = Path(run)
    return write_whole(run / PAGE_NAME, build_page(run, table))


def build_page(run: Path, table: str | Path | None = None) -> str:
    """The page of a run folder as text; see `write_page`."""
    records = Records(read_records(run / "records.jsonl"))
    if not records.numbered:
        raise DataError(f"{run / 'records.jsonl'} is empty", wanted="the records of a run")
    started, ended = (datetime.fromtimestamp(records.numbered[i]["time"], UTC) for i in (0, -1))
    quickstart = records.last("quickstart")
    return rendered(
        TEMPLATE,
        title="The quickstart" if quickstart else run.resolve().name,
        when=f"{ended:%d %B %Y, %H:%M} UTC"
        if ended.date() != started.date()
        else f"{started:%d %B %Y, %H:%M} UTC",
        quickstart=quickstart,
        noise=records.last("noise"),
        headlines=headlines(records),
        capfilt=capfilt_section(records, run, table),
        audit=records.last("audit"),
        training=training_section(records, run),
        heldout=heldout_section(records),
        stages=stage_section(records),
        environment=environment(records),
        records=records.shown(),
        shown={line for line, _ in records.shown()},
    )


# ---------------------------------------------------------------- sections


def headlines(records: Records) -> list[Headline]:
    """The numbers to remember, those that are there."""
    found = []
    if audit := records.last("audit"):
        before, after = audit["pictures_correct_before"], audit["pictures_correct_after"]
        auroc, line = number(audit["auroc_swapped"]), audit["line"]
        found += [
            Headline(auroc, "AUROC", "how well the match score tells right texts from swapped ones", line),
            Headline(
                f"{share(before)} → {share(after)}",
                "correct",
                "pictures with a correct caption, before → after",
                line,
            ),
        ]
    if ledger := records.last("capfilt"):
        counts = ledger["ledger"]
        note = f"rows of {count(counts['rows'])}; {count(counts['dropped'])} dropped"
        found.append(Headline(count(counts["replaced"]), "replaced", note, ledger["line"]))
    gains = {record["measure"]: record for record in records.all("comparison")}
    for name in ("i2t_r1", "cider_d"):
        if record := gains.get(name):
            note = f"{record['verdict']} (95 %: {signed(record['low'])} to {signed(record['high'])})"
            label = f"{measure(name)}, cleaned − raw"
            found.append(Headline(signed(record["gain"]), label, note, record["line"]))
    return found or _last_measures(records) or _last_step(records)


def _last_measures(records: Records) -> list[Headline]:
    last = {
        key: (value, record)
        for record in records.all("evaluate")
        for key, value in record["measures"].items()
    }
    return [
        Headline(number(value), key, f"at step {count(record['step'])}", record["line"])
        for key, (value, record) in list(last.items())[:6]
    ]


def _last_step(records: Records) -> list[Headline]:
    """Where a training run stands that has measured nothing yet."""
    last = records.last("train")
    if last is None:
        return []
    speed = f"{last['samples_per_s']:.0f}" if "samples_per_s" in last else "–"
    return [
        Headline(number(last["loss"]), "loss", f"at step {count(last['step'])}", last["line"]),
        Headline(speed, "samples per second", "at that step", last["line"]),
    ]


def capfilt_section(records: Records, run: Path, table: str | Path | None) -> dict[str, Any] | None:
    """Ledger, charts and cases of the cleaned table; None when there is no such table."""
    record = records.last("capfilt")
    if record is None and table is None:
        return None
    cleaned = Table.open(table if table is not None else _named_table(records, run))
    threshold = record.get("cut", record["settings"])["threshold"] if record else 0.5
    column = record["settings"].get("texts_column", cases.TEXTS_COLUMN) if record else cases.TEXTS_COLUMN
    kinds, scores, wrong = cases.web_scores(cases.read_rows(cleaned, column))
    charts = []
    if scores:
        svg = figures.score_histogram(kinds, threshold, "Histogram of match scores")
        charts.append(
            Chart(
                Markup(svg), f"Match scores of web texts; those below {threshold:g} go. Junk is not scored."
            )
        )
    if any(wrong) and not all(wrong):
        svg = figures.threshold_curve(scores, wrong, threshold, "Precision and recall by threshold")
        charts.append(Chart(Markup(svg), "What another threshold would have done."))
    return {
        "ledger": record and record["ledger"],
        "line": record and record["line"],
        "threshold": threshold,
        "charts": charts,
        "groups": cases.groups(cleaned, texts_column=column),
        "known": bool(wrong),
    }


def _named_table(records: Records, run: Path) -> Path:
    """Where the table lies that the records name, as seen from the run folder."""
    named = records.last("table")
    path = run / named["path"] if named else run
    if named is None or not path.is_dir():
        raise DataError(
            f"the cleaned table of {run} is not at {path}"
            if named
            else f"{run} does not say which table was cleaned",
            wanted="the table that CapFilt cleaned",
            hint=f"limner report {run} --table TABLE",
        )
    return path


def training_section(records: Records, run: Path) -> list[Chart]:
    """Loss curves of the run's own training, or of the runs it names."""
    named = {record["name"]: run / record["path"] / "records.jsonl" for record in records.latest("training")}
    runs = {name: Records(read_records(path)) for name, path in named.items() if path.exists()}
    if records.all("train"):
        runs = {run.resolve().name: records}
    curves = {name: r.all("train") for name, r in runs.items() if r.all("train")}
    if not curves:
        return []
    terms = next(iter(curves.values()))[-1]["terms"]
    charts = [
        _curve({name: [(r["step"], r["loss"]) for r in found] for name, found in curves.items()}, "loss")
    ]
    for term in terms if len(terms) > 1 else ():
        points = {name: [(r["step"], r["terms"][term]) for r in found] for name, found in curves.items()}
        charts.append(_curve(points, term))
    return charts + _measure_curves(runs)


def _measure_curves(runs: Mapping[str, Records]) -> list[Chart]:
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name, records in runs.items():
        for record in records.all("evaluate"):
            for key, value in record["measures"].items():
                curves.setdefault(key, {}).setdefault(name, []).append((record["step"], float(value)))
    return [_curve(points, key) for key, points in curves.items() if max(map(len, points.values())) > 1]


def _curve(points: Mapping[str, Sequence[tuple[int, float]]], label: str) -> Chart:
    svg = figures.training_curves(points, label, f"Training curve of {label}")
    return Chart(Markup(svg), f"{label} by step")


def heldout_section(records: Records) -> dict[str, Any] | None:
    """Start, raw and cleaned side by side on pairs nobody trained on; None without such records."""
    found = records.latest("heldout", "model")
    if not found:
        return None
    measures = list(found[0]["measures"])
    rows = [
        {"model": r["model"], "line": r["line"], "values": [r["measures"][m] for m in measures]}
        for r in found
    ]
    drawn = [m for m in measures if all("low" in r["measures"][m] for r in found)]
    panels = {
        measure(m): {
            r["model"]: figures.Interval(*(r["measures"][m][end] for end in ("value", "low", "high")))
            for r in found
        }
        for m in drawn
    }
    svg = figures.interval_chart(panels, "Held-out measures with 95 % intervals") if panels else ""
    return {
        "names": [measure(m) for m in measures],
        "rows": rows,
        "count": found[0]["rows"],
        "chart": Chart(Markup(svg), "Points are measures, bars their 95 % bootstrap intervals.")
        if svg
        else None,
        "comparisons": records.latest("comparison", "measure"),
    }


def stage_section(records: Records) -> dict[str, Any] | None:
    """Where the time went: of each stage the last time it was really done."""
    done = {record["name"]: record for record in records.all("stage") if not record["reused"]}
    if not done:
        return None
    svg = figures.time_bars({r["title"]: r["seconds"] for r in done.values()}, "Seconds each stage took")
    return {
        "chart": Chart(Markup(svg), "Wall time of each stage, the last time it was done."),
        "seconds": sum(r["seconds"] for r in done.values()),
        "peak_rss_gb": max(r["peak_rss_gb"] for r in done.values()),
        "reused": [r["title"] for r in records.latest("stage") if r["reused"]],
    }


def environment(records: Records) -> dict[str, Any]:
    """Where the run ran: its environment record, or what a training run says of its machine."""
    run = records.last("run") or {}
    found = records.last("environment") or {"recipe": run.get("digest", "")} | run.get("machine", {})
    return {name: value for name, value in found.items() if name not in ("kind", "time", "line") and value}
