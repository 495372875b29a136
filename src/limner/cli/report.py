"""`limner report`: the page of a run, or of what CapFilt did to a table, made from records and columns."""

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.terminal import Json, give, talk
from limner.errors import DataError


def report(
    what: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|TABLE",
            help="Folder of a quickstart or of a training run; or a table that limner capfilt cleaned.",
            show_default=False,
        ),
    ],
    table: Annotated[
        Path | None,
        typer.Option(help="Of a run: the cleaned table, when it is elsewhere.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Of a table: the page.", show_default="TABLE.capfilt.html"),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="Of a table: column, or CSV of key,text,good, beside a review in it.", show_default=False
        ),
    ] = "",
    records: Annotated[
        Path | None,
        typer.Option(
            help="Of a table: what limner capfilt recorded.", show_default="TABLE.capfilt/records.jsonl"
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(min=0, help="Of a table: of the machine that cleaned it.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the page of a run or of a cleaned table.

    A run's page is made from RUN/records.jsonl and its table, a table's from the columns that CapFilt wrote:
    thresholds, scores, what replaced what, diversity, decodings, agreement of ITM, ITC and people, cost. No
    model is loaded.
    """
    from limner.report.page import write_page

    if not what.exists():
        raise DataError(
            f"{what} does not exist", wanted="the folder of a run, or a table that limner capfilt cleaned"
        )
    if (what / "_versions").is_dir():
        page, values = _of_table(what, out, labels, records, price_per_hour)
    else:
        page, values = write_page(what, table), {}
    if as_json:
        give({"page": str(page), **values})
    else:
        typer.echo(page)
        talk("open it in any browser; it is one file and needs no network")


def _of_table(
    path: Path, out: Path | None, labels: str, records: Path | None, price_per_hour: float | None
) -> tuple[Path, dict[str, object]]:
    from limner.data.table import Table
    from limner.report.cleaned import write_cleaned
    from limner.suite.cleaned import read_cleaned
    from limner.suite.cleaned_report import cleaned_report

    opened = Table.open(path)
    values = cleaned_report(read_cleaned(opened), labels, records, price_per_hour)
    return write_cleaned(out or path.with_suffix(".capfilt.html"), opened, values), values
