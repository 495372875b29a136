"""`limner export`: a table as other programs read it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from limner.cli.terminal import Bar, Json, give, stoppable, talk

if TYPE_CHECKING:
    from limner.data.sinks import ExportResult


def export(
    table: Annotated[Path, typer.Argument(help="Table to write out.", show_default=False)],
    to: Annotated[
        Literal["webdataset", "parquet", "folder", "imagefolder", "coco"],
        typer.Option(help="What the reader wants.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.", show_default=False)],
    where: Annotated[
        str | None,
        typer.Option(help="SQL filter of the rows, such as \"split = 'train'\".", show_default="all"),
    ] = None,
    texts_column: Annotated[
        str, typer.Option(help="Column the texts come from; texts_bootstrapped after capfilt.")
    ] = "texts",
    shard_size: Annotated[
        int | None,
        typer.Option(min=1, help="Rows in one tar or Parquet file.", show_default="10000"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier export that is there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a table in the files that other programs read.

    webdataset: tars as img2dataset lays them out · parquet: with an Image column for datasets · folder:
    pictures with .txt and .json beside them · imagefolder: with metadata.jsonl · coco: captions, boxes and
    questions as JSON. `limner import` reads every one of them back.
    """
    from limner.data.sinks import ExportOptions, export_table
    from limner.data.table import Table

    options = ExportOptions(
        where=where, texts_column=texts_column, shard_size=shard_size, overwrite=overwrite
    )
    opened = Table.open(table)
    safe = stoppable(f"{out} was not written; nothing is left half-written, the same command starts again")
    with safe, Bar("export") as progress:
        result = export_table(opened, out, to, options, progress=progress)
    if as_json:
        give(result_values(result))
    else:
        _print_result(result)


def result_values(result: "ExportResult") -> dict[str, Any]:
    """What an export wrote, as plain values."""
    return {
        "out": str(result.path),
        "to": result.to,
        "rows": result.rows,
        "texts": result.texts,
        "files": result.files,
        "bytes": result.bytes,
        "left_out": list(result.left_out),
    }


def _print_result(result: "ExportResult") -> None:
    size = f"{result.bytes / 1e6:,.1f} MB in {result.files:,} files"
    typer.echo(f"{result.path}: {result.rows:,} pictures with {result.texts:,} texts, {size}")
    if result.left_out:
        talk(f"not written, since {result.to} holds no vectors or bytes: {', '.join(result.left_out)}")
