"""`limner report`: the page of a run, made again from its records and its table."""

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.terminal import Json, give, talk


def report(
    run: Annotated[
        Path, typer.Argument(help="Folder of a quickstart or of a training run.", show_default=False)
    ],
    table: Annotated[
        Path | None,
        typer.Option(help="The cleaned table, when it is not where the records say.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the web page of a run again.

    It is made from RUN/records.jsonl and the table alone; no model is loaded.
    """
    from limner.report.page import write_page

    page = write_page(run, table)
    if as_json:
        give({"page": str(page)})
    else:
        typer.echo(page)
        talk("open it in any browser; it is one file and needs no network")
