"""`limner capfilt`: a noisy table in, captions, scores and decisions as new columns of it."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from limner.cli.merging import Merge, compare_measured
from limner.cli.terminal import Bar, Json, Model, Seed, give, open_model, stoppable, talk

if TYPE_CHECKING:
    from limner.capfilt.cut import Cut, ScreenLoss
    from limner.capfilt.ledger import Ledger, TextCount
    from limner.capfilt.measure import Engine
    from limner.capfilt.pipeline import CapFiltResult
    from limner.capfilt.settings import CapFiltSettings
    from limner.checkpoint import Bundle


def capfilt(
    table: Annotated[Path, typer.Argument(help="Table made by limner import.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for records and report.", show_default="TABLE's name + .capfilt"
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Match probability from which a text stays.")
    ] = 0.5,
    quantile: Annotated[
        float | None,
        typer.Option(min=0, max=0.999, help="Instead: share of scored texts that goes.", show_default=False),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=0.999,
            help="Instead: share of kept texts that must be good, by --labels.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="Column, or CSV of key,text,good, that says which texts are good.", show_default=False
        ),
    ] = "",
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Of the promise that --precision makes.")
    ] = 0.95,
    model: Model = "limner_tiny",
    captioner: Annotated[
        str | None, typer.Option(help="Model that writes captions, when not --model.", show_default=False)
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option("--filter", help="Model that judges texts, when not --model.", show_default=False),
    ] = None,
    share: Annotated[bool, typer.Option("--share", help="Let the captioner judge too.")] = False,
    decoding: Annotated[
        Literal["nucleus", "beam", "both"],
        typer.Option(help="Draw captions, search the likeliest one, or both."),
    ] = "nucleus",
    captions: Annotated[int, typer.Option(min=1, help="Captions drawn for each picture.")] = 1,
    languages: Annotated[
        str,
        typer.Option(help='Keep these alone, "en,de"; short texts are not told.', show_default="all"),
    ] = "",
    itc_screen: Annotated[
        float | None,
        typer.Option(
            min=-1, max=1, help="Drop texts of a lower cosine without asking ITM.", show_default=False
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(min=0, help="Of this machine: prints the cost of a million.", show_default=False),
    ] = None,
    as_view: Annotated[
        Path | None,
        typer.Option(help="Write the cleaned pairs as a source for limner train -d.", show_default=False),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, such as decoding.temperature=0.7."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Who works: this process, or workers on Ray (the extra limner[ray])."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Of Ray, at most.", show_default="as many as there is room for"),
    ] = None,
    address: Annotated[
        str, typer.Option(help="Of a Ray cluster; Ray runs on this machine without.", show_default=False)
    ] = "",
    cpus: Annotated[float, typer.Option(min=0.01, help="Of each worker.")] = 1,
    gpus: Annotated[float, typer.Option(min=0, help="Of each worker; 0.5 lets two share one.")] = 0,
    merge: Merge = 0,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Measure again what is there already.")] = False,
    as_json: Json = False,
) -> None:
    """Clean a table: which texts fit, which should go.

    Every picture gets a synthetic caption, every text a score and a decision. Nothing is deleted: all of it
    stands in new columns, in one new version of the table. Training reads the column texts_bootstrapped.
    A --model made by limner capfilt tune is two models, a captioner and a filter. With --merge a few rows
    are measured without merging too, and how far both agree is said before the work begins.
    """
    from limner.capfilt.measure import Job
    from limner.capfilt.pipeline import run
    from limner.data.table import Table
    from limner.record import Recorder
    from limner.report.page import write_page

    opened = Table.open(table)
    works = engine_of(engine, {"address": address, "workers": workers, "cpus": cpus, "gpus": gpus})
    writer, reader = open_models(model, captioner, judge, share)
    given: dict[str, Any] = {
        "seed": seed,
        "threshold": threshold,
        "quantile": quantile,
        "precision": precision,
        "labels": labels,
        "confidence": confidence,
        "captions_per_picture": captions,
        "languages": [code.strip() for code in languages.split(",") if code.strip()],
        "itc_screen": itc_screen,
        "merge": merge,
    }
    settings = settings_of(given, decoding, writer, assignments or ())
    folder = out or table.with_suffix(".capfilt")
    recorder = Recorder(folder / "records.jsonl")
    safe = stoppable(f"{table} is as it was; the same command goes on where this one stopped")
    try:
        with safe, Bar("capfilt") as progress:
            if settings.merge:
                compare_measured(Job(opened, writer, reader, settings), force)
            result = run(opened, writer, reader, settings, recorder, progress, engine=works, force=force)
    except BaseException:
        with suppress(OSError):  # an empty folder says nothing; one with records stays
            folder.rmdir()
        raise
    recorder.write("table", path=os.path.relpath(table, folder), rows=opened.num_rows)
    cost = cost_of(result.pictures_per_second, price_per_hour)
    if cost:
        recorder.write("cost", **cost, peak_rss_gb=peak_memory_gb())
    page = write_page(folder)
    view = as_view and write_view(as_view, result)
    if as_json:
        values = {"table": str(table), "report": str(page), "view": view and str(view)}
        give(values | result_values(result) | {"cost": cost})
        return
    for line in ledger_lines(result.ledger):
        typer.echo(line)
    for line in said_of(result, cost):
        talk(line)
    if view:
        talk(f"train on the cleaned pairs: limner train RECIPE --data {view}")
    talk(f"look at it: {page}\nthresholds, variety, agreement: limner report {table}")


REUSED = {
    "nothing": "{measured:,} pictures in {seconds:.0f} s",
    "part": "went on where an earlier run stopped: {measured:,} pictures in {seconds:.0f} s",
    "scores": "scores were in the table and still hold; only decisions are new (--force measures again)",
    "all": "all of this was in the table already and still holds (--force measures again)",
}


def open_models(
    model: str, captioner: str | None, judge: str | None, share: bool
) -> tuple["Bundle", "Bundle"]:
    """Captioner and filter; a folder of `limner capfilt tune` holds both.

    Raises: typer.BadParameter when one model is to be shared, and two are named.
    """
    tuned = {part: Path(model) / part / "model" for part in ("captioner", "filter")}
    both = all(path.is_dir() for path in tuned.values())
    writes = captioner or (str(tuned["captioner"]) if both else model)
    judges = judge or (str(tuned["filter"]) if both else model)
    if share and judge not in (None, writes):
        raise typer.BadParameter("--share lets the captioner judge: leave out --filter")
    writer = open_model(writes)
    return writer, writer if share or judges == writes else open_model(judges)


def engine_of(engine: str, pool: dict[str, Any]) -> "Engine":
    """Who works; how many and where is for Ray alone.

    Raises: ConfigError when Ray is missing, or something is said of its workers and it is not asked for.
    """
    from limner.capfilt.measure import measure
    from limner.capfilt.ray_engine import RayPool, ray_engine
    from limner.errors import ConfigError

    asked = RayPool(**pool)
    if engine == "ray":
        return ray_engine(asked)
    if asked != RayPool():
        said = ", ".join(f"--{name}" for name, value in pool.items() if value != getattr(RayPool(), name))
        raise ConfigError(f"{said} of --engine local", wanted="one process", hint="--engine ray")
    return measure


def settings_of(
    given: dict[str, Any], decoding: str, captioner: "Bundle", assignments: Sequence[str]
) -> "CapFiltSettings":
    """The settings of a command line; captions go on from the prompt that the captioner was trained with.

    Raises: ConfigError when a value does not fit.
    """
    from limner.capfilt.settings import CapFiltSettings
    from limner.config import build, override
    from limner.errors import ConfigError

    drawn, searched = {"method": "nucleus", "top_p": 0.9}, {"method": "beam"}
    if decoding == "beam" and given["captions_per_picture"] > 1:
        raise ConfigError(
            f"--captions {given['captions_per_picture']} --decoding beam, which finds one",
            wanted="--decoding nucleus, or both",
        )
    given["decoding"] = searched if decoding == "beam" else drawn
    if decoding == "both":
        given["also"] = searched
    given["prompt"] = captioner.recipe.get("objective", {}).get("prompt", "")
    return build(override(given, assignments), CapFiltSettings, "limner capfilt")


def cost_of(pictures_per_second: float | None, price_per_hour: float | None) -> dict[str, float]:
    """What a million pictures would take and cost at the speed just measured; empty when nothing was."""
    if pictures_per_second is None:
        return {}
    hours = 1e6 / pictures_per_second / 3600
    found = {"pictures_per_second": round(pictures_per_second, 2), "hours_per_million": round(hours, 2)}
    if price_per_hour is not None:
        found |= {"price_per_hour": price_per_hour, "cost_per_million": round(hours * price_per_hour, 2)}
    return found


def peak_memory_gb() -> float | None:
    """The most memory that this process has held; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most * (1 if sys.platform == "darwin" else 1024) / 1e9, 3)


def write_view(path: Path, result: "CapFiltResult") -> Path:
    """Name the cleaned pairs, at this version of the table, in a file that training reads as a source."""
    from limner.config import to_toml
    from limner.recipe.sources import TableSource

    path.parent.mkdir(parents=True, exist_ok=True)
    source = TableSource(
        kind="table",
        path=os.path.relpath(result.table.path.resolve(), path.parent.resolve()),
        texts_column="texts_bootstrapped",
        version=result.table.version,
        captions="all",
    )
    path.write_text(to_toml(source), encoding="utf-8")
    return path


def result_values(result: "CapFiltResult") -> dict[str, object]:
    """What CapFilt did, as plain values."""
    return {
        "version": result.table.version,
        "ledger": result.ledger.model_dump(mode="json"),
        "reused": result.reused,
        "seconds": round(result.seconds, 3),
        "cut": result.cut.model_dump(mode="json"),
        "screen": result.screen and result.screen.model_dump(mode="json"),
        "poisoned": [list(row) for row in result.poisoned],
    }


def said_of(result: "CapFiltResult", cost: dict[str, float]) -> list[str]:
    """How it went, beside the ledger: speed, cost, threshold, screen, rows a model failed on."""
    lines = [REUSED[result.reused].format(measured=result.measured, seconds=result.seconds)]
    if cost:
        price = f", {cost['cost_per_million']:,.2f} in all" if "cost_per_million" in cost else ""
        lines.append(
            f"{cost['pictures_per_second']:,.1f} pictures/s: a million takes "
            f"{cost['hours_per_million']:,.1f} hours{price}"
        )
    lines += [*_cut_lines(result.cut), *_screen_lines(result.screen)]
    lines += [f"{key}: a model failed on it ({raised})" for key, raised in result.poisoned[:10]]
    return lines


def _cut_lines(cut: "Cut") -> list[str]:
    if cut.calibration is None:
        return [] if cut.rule == "score" else [f"threshold {cut.threshold:.4f}: {cut.quantile:.1%} go"]
    known = cut.calibration
    return [
        f"threshold {cut.threshold:.4f}: of kept texts {known.precision:.3f} are good "
        f"({known.low:.3f} to {known.high:.3f} at {known.confidence:g}), wanted {known.wanted:g}",
        f"it keeps {known.recall:.3f} of the good ones ({known.recall_low:.3f} to {known.recall_high:.3f}); "
        f"{known.kept:,} of {known.labelled:,} labelled texts stay",
    ]


def _screen_lines(screen: "ScreenLoss | None") -> list[str]:
    if screen is None:
        return []
    if screen.recall is None:
        return ["the screen's cost is not known: no text of the sample would have stayed"]
    return [
        f"on {screen.texts:,} texts scored by both, the screen took {screen.screened:,} and lost "
        f"{screen.lost:,} of {screen.kept:,} that ITM keeps: recall {screen.recall:.3f} "
        f"({screen.low:.3f} to {screen.high:.3f})"
    ]


def ledger_lines(ledger: "Ledger") -> list[str]:
    """The ledger as people read it."""
    rows = [
        ("rows in", ledger.rows, ""),
        ("  kept", ledger.kept, f"{ledger.added:,} of them with a synthetic text added"),
        ("  replaced", ledger.replaced, _reasons(ledger.replaced_reasons)),
        ("  dropped", ledger.dropped, _reasons(ledger.dropped_reasons)),
        *_side("web texts", ledger.web),
        *_side("synthetic texts", ledger.synthetic),
        ("pairs for training", ledger.pairs, ""),
    ]
    return [f"{name:<20}{count:>9,}  {note}".rstrip() for name, count, note in rows]


def _side(name: str, count: "TextCount") -> list[tuple[str, int, str]]:
    return [
        (name, count.total, ""),
        ("  kept", count.kept, ""),
        ("  dropped", count.dropped, _reasons(count.reasons)),
    ]


def _reasons(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
