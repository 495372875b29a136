"""`limner capfilt select`: the pairs of a cleaned table that are most worth a person's look."""

import csv
from pathlib import Path
from typing import Annotated, Literal

import typer

from limner.cli.terminal import Json, Seed, give, talk


def capfilt_select(
    table: Annotated[Path, typer.Argument(help="Table that limner capfilt cleaned.", show_default=False)],
    rows: Annotated[int, typer.Option(min=1, help="Pairs to take, one a row.")] = 500,
    by: Annotated[
        Literal["active", "random"],
        typer.Option(help="What the scores dispute or doubt; or by chance, to calibrate on."),
    ] = "active",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV to fill in (key, text, good) too.", show_default=False),
    ] = None,
    texts_column: Annotated[str, typer.Option(help="Where the web texts are.")] = "texts",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Choose pairs to check by hand.

    Active selection takes what ITM and ITC dispute and what stands near the threshold: the pairs a filter
    learns most from. To calibrate a threshold or to measure a filter, take them --by random. The choice
    stands in columns of one new version.
    """
    from limner.capfilt.select import add_selection, select
    from limner.data.table import Table

    opened = Table.open(table)
    pairs = select(opened, rows, by, seed, texts_column)
    written = add_selection(opened, pairs)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(["key", "text", "itm", "itc", "why", "good"])
            lines.writerows([p.key, p.text, f"{p.itm:.4f}", f"{p.itc:.4f}", p.why, ""] for p in pairs)
    if as_json:
        values = [pair._asdict() for pair in pairs]
        give({"table": str(table), "version": written.version, "out": out and str(out), "pairs": values})
        return
    typer.echo(f"{len(pairs):,} pairs of {opened.num_rows:,} rows, in version {written.version}")
    if out is not None:
        talk(
            f"write yes or no under good in {out}; then\n"
            f"  limner capfilt {table} --precision 0.9 --labels {out}"
        )
