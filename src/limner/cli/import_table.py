"""`limner import`: a folder of pictures or a file of rows becomes a pairs table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.terminal import Bar, Json, give, stoppable, talk

if TYPE_CHECKING:
    from limner.data.sources import Guess, ImportResult


def import_table(
    source: Annotated[
        Path, typer.Argument(help="Folder, or CSV, TSV, JSON lines or Parquet file.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table to make.")] = Path("pairs.lance"),
    picture_column: Annotated[
        str | None, typer.Option(help="Column of paths or encoded pictures.", show_default="guessed")
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(help="Column of texts.", show_default="guessed")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Between the columns.", show_default="guessed")
    ] = None,
    max_bad: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of pictures that may be refused before the import fails."),
    ] = 0.05,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be read, and write nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the table that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Put pictures and their texts into a table.

    Every picture is looked at. What cannot be read goes to a quarantine table beside it, with a reason.
    """
    from limner.data.sources import ImportOptions, guess_source, import_source

    options = ImportOptions(
        picture_column=picture_column, caption_column=caption_column, separator=separator, max_bad=max_bad
    )
    guess = guess_source(source, options)
    _say_guess(guess)
    if dry_run:
        if as_json:
            give(guess_values(guess))
        return
    safe = stoppable(f"{out} was not made; nothing is left half-written, the same command starts again")
    with safe, Bar("import") as progress:
        result = import_source(source, out, options, overwrite=overwrite, progress=progress)
    if as_json:
        give(guess_values(guess) | result_values(result))
    else:
        _print_result(result)


def guess_values(guess: "Guess") -> dict[str, Any]:
    """What a source was taken for, as plain values."""
    examples = [
        {"key": item.key, "picture": item.origin, "texts": [str(text) for text in item.texts]}
        for item in guess.examples
    ]
    return {"source": str(guess.source), "taken_for": list(guess.lines), "examples": examples}


def result_values(result: "ImportResult") -> dict[str, Any]:
    """What an import did, as plain values."""
    return {
        "table": str(result.table.path),
        "rows": result.rows,
        "refused": result.refused,
        "captions": result.captions,
        "without_text": result.without_text,
        "duplicates": result.duplicates,
        "quarantine": result.quarantine and str(result.quarantine),
    }


def _say_guess(guess: "Guess") -> None:
    for line in guess.lines:
        talk(line)
    talk("the first rows, as they will be read:")
    for row in guess_values(guess)["examples"]:
        talk(f"  {row['picture']}: {' | '.join(row['texts']) or '(no text)'}")


def _print_result(result: "ImportResult") -> None:
    typer.echo(f"{result.table.path}: {result.rows:,} pictures")
    kept = result.captions.get("kept", 0)
    lost = {name: count for name, count in result.captions.items() if name != "kept" and count}
    typer.echo(f"captions: {kept:,} kept" + "".join(f", {count:,} {name}" for name, count in lost.items()))
    if result.without_text:
        typer.echo(f"pictures without any text: {result.without_text:,}")
    if result.duplicates:
        typer.echo(f"pictures seen before: {result.duplicates:,}")
    if result.refused:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in result.refused.items())
        typer.echo(f"refused: {reasons}; see {result.quarantine}")
    talk(f"next: limner capfilt {result.table.path}")
