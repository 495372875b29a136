"""`limner capfilt`: a noisy table in, captions, scores and decisions as new columns of it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.terminal import Bar, Json, Model, Seed, give, open_model, stoppable, talk

if TYPE_CHECKING:
    from limner.capfilt.ledger import Ledger, TextCount
    from limner.capfilt.pipeline import CapFiltResult


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
    model: Model = "limner_tiny",
    captioner: Annotated[
        str | None, typer.Option(help="Model that writes captions, when not --model.", show_default=False)
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option("--filter", help="Model that judges texts, when not --model.", show_default=False),
    ] = None,
    seed: Seed = 0,
    force: Annotated[bool, typer.Option("--force", help="Measure again what is there already.")] = False,
    as_json: Json = False,
) -> None:
    """Clean a table: which texts fit, which should go.

    Every picture gets a synthetic caption, every text a score and a decision. Nothing is deleted: all of it
    stands in new columns, in one new version of the table. Training reads the column texts_bootstrapped.
    """
    from limner.capfilt.pipeline import run
    from limner.capfilt.settings import CapFiltSettings
    from limner.data.table import Table
    from limner.record import Recorder
    from limner.report.page import write_page

    opened = Table.open(table)
    writer = open_model(captioner or model)
    reader = writer if (judge or model) == (captioner or model) else open_model(judge or model)
    folder = out or table.with_suffix(".capfilt")
    recorder = Recorder(folder / "records.jsonl")
    settings = CapFiltSettings(seed=seed, threshold=threshold)
    safe = stoppable(f"{table} is as it was; the same command goes on where this one stopped")
    with safe, Bar("capfilt") as progress:
        result = run(opened, writer, reader, settings, recorder, progress, force=force)
    recorder.write("table", path=os.path.relpath(table, folder), rows=opened.num_rows)
    page = write_page(folder)
    if as_json:
        give({"table": str(table), "report": str(page), **result_values(result)})
    else:
        for line in ledger_lines(result.ledger):
            typer.echo(line)
        talk(REUSED[result.reused].format(measured=result.measured, seconds=result.seconds))
        talk(f"look at it: {page}")


REUSED = {
    "nothing": "{measured:,} pictures in {seconds:.0f} s",
    "part": "went on where an earlier run stopped: {measured:,} pictures in {seconds:.0f} s",
    "scores": "scores were in the table and still hold; only decisions are new (--force measures again)",
    "all": "all of this was in the table already and still holds (--force measures again)",
}


def result_values(result: "CapFiltResult") -> dict[str, object]:
    """What CapFilt did, as plain values."""
    return {
        "version": result.table.version,
        "ledger": result.ledger.model_dump(mode="json"),
        "reused": result.reused,
        "seconds": round(result.seconds, 3),
    }


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
