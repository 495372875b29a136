"""`limner caption`: captions of pictures, printed, written beside them, or a column of a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from limner.cli.merging import Merge, compare_captions
from limner.cli.terminal import Bar, Json, Model, Seed, give, open_model, stoppable, talk
from limner.errors import ConfigError, DataError

if TYPE_CHECKING:
    from limner.capfilt.bulk import BulkSettings
    from limner.capfilt.caption import Captioned
    from limner.checkpoint import Bundle

Method = Literal["greedy", "beam", "nucleus"]


def caption(
    paths: Annotated[
        list[str],
        typer.Argument(help="Pictures, folders of pictures, patterns, or one table.", show_default=False),
    ],
    model: Model = "limner_tiny",
    method: Annotated[
        Method | None,
        typer.Option(help="How words are chosen: beam unless several captions are asked, then nucleus."),
    ] = None,
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="Captions a picture; not by greedy.")] = 1,
    ask: Annotated[
        str, typer.Option(help="Answer this question about each picture instead.", metavar="QUESTION")
    ] = "",
    prompt: Annotated[str, typer.Option(help="Words that captions go on from; not printed.")] = "",
    prefix: Annotated[str, typer.Option(help="Put before each caption, as it is.")] = "",
    suffix: Annotated[str, typer.Option(help="Put after each caption, as it is.")] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest caption, in pieces of words.")] = 20,
    top_k: Annotated[int, typer.Option(min=0, help="Most words nucleus draws from; 0 for any.")] = 0,
    no_repeat: Annotated[
        int, typer.Option(min=0, metavar="N", help="No run of N pieces of words comes twice; 0 for any.")
    ] = 0,
    forbid: Annotated[
        list[str] | None, typer.Option(metavar="WORDS", help="Words never to write; may be given often.")
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option(metavar="WORDS", help="Words in every caption; may be given often.")
    ] = None,
    write: Annotated[
        Literal["txt", "json"] | None,
        typer.Option(help="Write a file beside each picture that has none yet.", show_default=False),
    ] = None,
    column: Annotated[str, typer.Option(help="Of a table: where its captions go.")] = "captions",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write files or the column anew that are there already.")
    ] = False,
    max_bad: Annotated[
        float, typer.Option(min=0, max=1, help="Share of unreadable pictures that is still exit code 0.")
    ] = 0.0,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures at a time; no caption depends on it.")
    ] = 32,
    merge: Merge = 0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Describe pictures, or answer a question about them.

    A picture that cannot be read is reported and does not stop the others; the exit code is then 1. After
    Ctrl-C the same command with --write, or on a table, goes on where it stopped. With --merge the first
    pictures are captioned without merging too, and how far both agree is said before the work begins.
    """
    from limner.capfilt.bulk import BulkSettings
    from limner.capfilt.caption import with_words
    from limner.models.generate import Decoding

    if ask and prompt:
        raise ConfigError("--ask and --prompt together", wanted="one of them")
    sources = [Path(path) for path in paths]
    tables = [path for path in sources if (path / "_versions").is_dir()]
    if tables and len(sources) > 1:
        raise DataError(f"{tables[0]} is a table, beside other paths", wanted="one table, or pictures")
    if tables and write:
        raise ConfigError(f"--write {write} of a table", wanted="pictures", hint="--column NAME of a table")
    if column != "captions" and not tables:
        raise ConfigError(
            f"--column {column} of pictures",
            wanted="a table",
            hint=f"limner import {paths[0]} makes one; --write txt puts captions beside pictures",
        )
    pictures = [] if tables else find_pictures(sources)
    bundle = open_model(model)
    method = method or ("beam" if num == 1 else "nucleus")
    decoding = Decoding(
        method=method,
        num_beams=max(3, num),
        max_tokens=max_tokens,
        top_k=top_k,
        no_repeat_ngram=no_repeat,
    )
    settings = BulkSettings(
        decoding=with_words(decoding, bundle, forbid or (), require or ()),
        seed=seed,
        prompt=as_question(ask) or prompt,
        count=num,
        prefix=prefix,
        suffix=suffix,
        batch_size=batch_size,
    )
    if merge:
        from limner.capfilt.fewer import merging

        whole, bundle = bundle, merging(bundle, merge)
        compare_captions(whole, bundle, settings, tables or pictures)
    if tables:
        bad, total = _to_table(tables[0], bundle, settings, column, overwrite, as_json)
    elif write:
        bad, total = _to_files(pictures, bundle, settings, write, overwrite, as_json)
    else:
        bad, total = _to_terminal(pictures, bundle, settings, as_json)
    if bad:
        talk(f"{bad} of {total} pictures could not be read")
    if bad > max_bad * total:
        raise typer.Exit(1)


def _to_terminal(
    pictures: list[Path], bundle: "Bundle", settings: "BulkSettings", as_json: bool
) -> tuple[int, int]:
    """Print captions as they come; return how many pictures were refused, and how many there were."""
    from limner.capfilt.bulk import caption_files

    refused, found = 0, []
    with stoppable("captions printed so far are whole"):
        for result in caption_files(bundle, pictures, settings):
            refused += result.problem is not None
            found.append(as_values(result))
            if not as_json:
                _print(result, named=len(pictures) > 1)
    if as_json:
        give(found)
    return refused, len(pictures)


def _to_files(
    pictures: list[Path],
    bundle: "Bundle",
    settings: "BulkSettings",
    kind: Literal["txt", "json"],
    overwrite: bool,
    as_json: bool,
) -> tuple[int, int]:
    """Write a sidecar for each picture that has none."""
    from limner.capfilt.bulk import caption_files, without_sidecar, write_sidecar

    missing = without_sidecar(pictures, kind)
    todo = pictures if overwrite else missing
    written, refused = [], []
    with stoppable("files written are whole; the same command goes on"), Bar("caption") as bar:
        for done, result in enumerate(caption_files(bundle, todo, settings), 1):
            if result.problem is not None:
                refused.append(as_values(result))
                _print(result, named=True)
            else:
                written.append(str(write_sidecar(result, kind)))
            bar(done, len(todo))
    told = {"written": written, "skipped": len(pictures) - len(todo), "refused": refused}
    if as_json:
        give(told)
    else:
        typer.echo(f"{len(written)} files written, {told['skipped']} pictures had one already")
    return len(refused), len(pictures)


def _to_table(
    path: Path, bundle: "Bundle", settings: "BulkSettings", column: str, overwrite: bool, as_json: bool
) -> tuple[int, int]:
    """Add captions to a table."""
    from limner.capfilt.bulk import caption_table
    from limner.data.table import Table

    with stoppable("rows done are kept; the same command goes on"), Bar("caption") as bar:
        found = caption_table(Table.open(path), bundle, settings, column, overwrite=overwrite, progress=bar)
    bad = sum(found.refused.values())
    if as_json:
        give(
            {
                "table": str(path),
                "version": found.table.version,
                "column": column,
                "captioned": found.captioned,
                "refused": found.refused,
                "fresh": found.fresh,
            }
        )
    else:
        how = "" if found.fresh else ", as it was"
        typer.echo(f"{path}: version {found.table.version}{how}: {found.captioned} rows in {column!r}")
    return bad, found.captioned + bad


def as_question(text: str) -> str:
    """A question as the decoder reads it in training, with its "?" as a word; "" stays ""."""
    words = text.strip().rstrip(" ?")
    return f"{words} ?" if words else ""


def find_pictures(paths: list[Path]) -> list[Path]:
    """Named files as they are, folders by the pictures below them, patterns by what they find; each once.

    Raises: DataError when a folder or a pattern holds no picture.
    """
    from limner.data.sources.rowfiles import PICTURE_SUFFIXES

    found: list[Path] = []
    for path in paths:
        pattern = not path.exists() and any(sign in str(path) for sign in "*?[")
        if not path.is_dir() and not pattern:
            found.append(path)
            continue
        below = matches(path) if pattern else path.rglob("*")
        pictures = sorted(p for p in below if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
        if not pictures:
            raise DataError(
                f"no pictures in {path}", wanted="files ending in " + " ".join(sorted(PICTURE_SUFFIXES))
            )
        found += pictures
    return list(dict.fromkeys(found))


def matches(pattern: Path) -> list[Path]:
    """What a pattern with `*`, `?`, `[…]` and `**` finds, for shells that leave it to us."""
    from glob import glob

    return [Path(path) for path in glob(str(pattern), recursive=True)]


def as_values(result: "Captioned") -> dict[str, Any]:
    """One picture's captions, or why there are none, as plain values."""
    from limner.capfilt.bulk import caption_values

    problem = result.problem
    return {
        "picture": str(result.source),
        "captions": caption_values(result.captions),
        "problem": problem and {"reason": problem.reason, "message": problem.given},
    }


def _print(result: "Captioned", *, named: bool) -> None:
    if result.problem is not None:
        talk(f"{result.source}: {result.problem.reason}: {result.problem.given}", colour=typer.colors.RED)
    for line in result.captions:
        typer.echo(f"{result.source}: {line.text}" if named else line.text)
