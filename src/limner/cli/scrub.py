"""`limner scrub`: a preflight of a table, as one web page."""

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.terminal import Bar, Json, Seed, give, talk


def scrub(
    table: Annotated[Path, typer.Argument(help="Table to look at.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page.", show_default="TABLE.scrub.html")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="Only these rows: SQL over the columns.", show_default=False)
    ] = None,
    near: Annotated[
        int, typer.Option(min=0, max=16, help="Bits of 64 that hashes of near duplicates differ in at most.")
    ] = 2,
    sample: Annotated[int, typer.Option(min=1, help="Most pictures that are opened.")] = 4000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Look for faults in a table before a model learns them.

    Odd pictures, faults of texts, duplicates, leaks between splits, languages, licences: one page that needs
    no network. Nothing in the table is changed.
    """
    from limner.report.scrub import write_scrub
    from limner.report.scrub_findings import ScrubSettings

    page = out or table.with_name(f"{table.stem}.scrub.html")
    settings = ScrubSettings(near=near, where=where, sample=sample, seed=seed)
    with Bar("scrub") as progress:
        found, verdicts = write_scrub(table, page, settings, progress)
    if as_json:
        give({"page": str(page), **found.values()})
        return
    for one in verdicts:
        typer.echo(one.text)
    typer.echo(f"page: {page}")
    talk("open it in any browser; it is one file and needs no network")
