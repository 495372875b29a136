"""`limner import`: whatever holds pictures and texts becomes a pairs table, or is added to one."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from limner.cli.terminal import Bar, Json, give, stoppable, talk

if TYPE_CHECKING:
    from limner.data.importing import Guess, ImportResult


def import_table(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders, files of rows, tars, JSON of datasets, tables; here or at a remote address.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Table to make or to add to.")] = Path(
        "pairs.lance"
    ),
    kind: Annotated[str | None, typer.Option(help="What the sources are.", show_default="guessed")] = None,
    picture_column: Annotated[
        str | None, typer.Option(help="Column of paths or encoded pictures.", show_default="guessed")
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(help="Column of texts.", show_default="guessed")
    ] = None,
    key_column: Annotated[
        str | None, typer.Option(help="Column of unique names.", show_default="guessed")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column of class names.", show_default="guessed")
    ] = None,
    split_column: Annotated[
        str | None, typer.Option(help="Column of the splits' names.", show_default="guessed")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A further column to bring along, as text; may be repeated.", show_default=False),
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Between the columns.", show_default="guessed")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Of text files.", show_default="guessed")] = None,
    base: Annotated[
        Path | None, typer.Option(help="Folder that paths start from.", show_default="the file's own")
    ] = None,
    source_name: Annotated[
        str | None, typer.Option("--source", help="Name of the source.", show_default="its address")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of pictures that bring none.", show_default=False)
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of pictures that bring none.", show_default=False)
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option(
            help="Draw the splits of pictures that have none: train=0.8,val=0.1,test=0.1; duplicates stay "
            "together.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the drawn splits.")] = 0,
    max_pixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse larger pictures.", show_default="64 million")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=1, help="Refuse larger files.", show_default="64 MiB")
    ] = None,
    max_bad: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of pictures that may be refused before the import fails."),
    ] = 0.05,
    drop_duplicates: Annotated[
        Literal["exact", "near"] | None,
        typer.Option(help="Leave out copies of pictures that came before.", show_default=False),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete rows that these sources have no more.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be read, and write nothing.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make the table anew and replace the one that is there.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an unfinished import has left.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put pictures and their texts into a table, or update one.

    Every picture is looked at. What cannot be read goes to a quarantine table beside it, with a reason. An
    import that was stopped goes on where it was when the same command is given again.
    """
    from limner.data.import_result import parsed_splits
    from limner.data.importing import ImportOptions, ImportRules, guess_source, import_sources
    from limner.data.intake import Limits

    limits = {"max_pixels": max_pixels, "max_bytes": max_bytes}
    options = ImportOptions(
        kind=kind,
        picture_column=picture_column,
        caption_column=caption_column,
        key_column=key_column,
        label_column=label_column,
        split_column=split_column,
        keep=tuple(keep or ()),
        separator=separator,
        encoding=encoding,
        base=base,
        source=source_name,
        licence=licence,
        split=split,
        limits=Limits(**{name: value for name, value in limits.items() if value is not None}),
        max_bad=max_bad,
    )
    rules = ImportRules(
        prune=prune,
        drop_duplicates=drop_duplicates,
        splits=parsed_splits(splits) if splits else {},
        seed=seed,
        restart=restart,
    )
    guesses = [guess_source(source, options) for source in sources]
    for guess in guesses:
        _say_guess(guess)
    if dry_run:
        if as_json:
            give(guess_values(guesses))
        return
    safe = stoppable(f"{out} is as it was; the same command goes on from the pictures looked at so far")
    with safe, Bar("import") as progress:
        result = import_sources(guesses, out, options, rules, overwrite=overwrite, progress=progress)
    if as_json:
        give(guess_values(guesses) | result_values(result))
    else:
        _print_result(result)


def guess_values(guesses: "list[Guess]") -> dict[str, Any]:
    """What the sources were taken for, as plain values."""
    return {
        "sources": [
            {"source": guess.source, "taken_for": list(guess.lines), "examples": _examples(guess)}
            for guess in guesses
        ]
    }


def result_values(result: "ImportResult") -> dict[str, Any]:
    """What an import did, as plain values."""
    return {
        "table": str(result.table.path),
        "version": result.version,
        "rows": result.rows,
        "pruned": result.pruned,
        **result.settled.values(),
        "quarantine": result.quarantine and str(result.quarantine),
        "seconds": round(result.seconds, 3),
        "pictures_per_s": round(result.pictures_per_s, 1),
    }


def _examples(guess: "Guess") -> list[dict[str, Any]]:
    from limner.data.captions import shown

    return [
        {"key": item.key, "picture": item.origin, "texts": [shown(text) for text in item.texts]}
        for item in guess.examples
    ]


def _say_guess(guess: "Guess") -> None:
    for line in guess.lines:
        talk(line)
    talk("the first rows, as they will be read:")
    for row in _examples(guess):
        talk(f"  {row['picture']}: {' | '.join(row['texts']) or '(no text)'}")


def _print_result(result: "ImportResult") -> None:
    settled, counts = result.settled, result.settled.counts
    typer.echo(f"{result.table.path}: {result.rows:,} pictures")
    if result.version is None:
        typer.echo("nothing has changed: no new version")
    else:
        done = ", ".join(f"{counts[name]:,} {name}" for name in ("added", "updated", "unchanged"))
        typer.echo(f"version {result.version}: {done}")
    if counts["missing"]:
        fate = "deleted" if result.pruned else "kept; --prune deletes them"
        typer.echo(f"no more in the source: {counts['missing']:,} {fate}")
    _print_captions(result)
    _print_duplicates(result)
    if result.refused:
        typer.echo(f"refused: {_told(result.refused)}; see {result.quarantine}")
    for leak in settled.leaks[:5]:
        talk(f"warning: the same picture is in {_places(leak['splits'])}: {', '.join(leak['keys'][:4])}")
    if len(settled.leaks) > 5:
        talk(f"warning: {len(settled.leaks) - 5:,} more pictures are in several splits")
    typer.echo(
        f"{result.looked_at:,} looked at in {result.seconds:.1f} s, {result.pictures_per_s:,.0f} a second"
    )
    talk(f"next: limner capfilt {result.table.path}")


def _places(splits: list[str]) -> str:
    """Each split once, with how often where that is more than once: "test and train (3 times)"."""
    counts = sorted(Counter(splits).items())
    return " and ".join(name + (f" ({count} times)" if count > 1 else "") for name, count in counts)


def _print_captions(result: "ImportResult") -> None:
    settled = result.settled
    lost = {name: count for name, count in settled.captions.items() if name != "kept" and count}
    kept = settled.captions.get("kept", 0)
    typer.echo(f"captions: {kept:,} kept" + (f", {_told(lost)}" if lost else ""))
    for reason, texts in settled.lost.items():
        if texts:
            typer.echo(f"  {reason}: {_quoted(texts)}")
    many, commonest = settled.shared
    if many:
        typer.echo(f"captions on three pictures or more: {many:,}; {_quoted(commonest)}")
    if settled.without_text:
        typer.echo(f"pictures without any text: {settled.without_text:,}")


def _print_duplicates(result: "ImportResult") -> None:
    found = result.settled.duplicates
    if found.exact or found.near:
        typer.echo(f"duplicates: {found.exact:,} exact, {found.near:,} near; {len(found.dropped):,} left out")
        for keys in found.examples:
            typer.echo(f"  {' = '.join(keys)}")


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _quoted(texts: list[tuple[str, int]]) -> str:
    return ", ".join(f'"{text}" ({count:,} times)' for text, count in texts)
