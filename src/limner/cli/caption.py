"""`limner caption`: pictures in, captions out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from limner.cli.terminal import Json, Model, Seed, give, open_model, stoppable, talk
from limner.errors import DataError

if TYPE_CHECKING:
    from limner.capfilt.caption import Captioned


def caption(
    paths: Annotated[
        list[Path], typer.Argument(help="Pictures, or folders of pictures.", show_default=False)
    ],
    model: Model = "limner_tiny",
    method: Annotated[
        Literal["greedy", "beam", "nucleus"],
        typer.Option(help="How words are chosen; nucleus draws them by chance."),
    ] = "beam",
    num: Annotated[
        int, typer.Option("--num", "-n", min=1, help="Captions a picture; several need nucleus.")
    ] = 1,
    ask: Annotated[
        str, typer.Option(help="Answer this question about each picture instead.", metavar="QUESTION")
    ] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Describe pictures, or answer a question about them.

    A picture that cannot be read is reported and does not stop the others; the exit code is then 1.
    """
    from limner.capfilt.caption import caption_pictures
    from limner.models.generate import Decoding

    sources = find_pictures(paths)
    bundle = open_model(model)
    method = "nucleus" if num > 1 else method
    prompt = as_question(ask)
    results = caption_pictures(bundle, sources, Decoding(method=method), seed=seed, prompt=prompt, count=num)
    refused, found = 0, []
    with stoppable("captions printed so far are whole"):
        for result in results:
            refused += result.problem is not None
            found.append(as_values(result))
            if not as_json:
                _print(result, named=len(sources) > 1)
    if as_json:
        give(found)
    if refused:
        talk(f"{refused} of {len(sources)} pictures could not be read")
        raise typer.Exit(1)


def as_question(text: str) -> str:
    """A question as the decoder reads it in training, with its "?" as a word; "" stays ""."""
    words = text.strip().rstrip(" ?")
    return f"{words} ?" if words else ""


def find_pictures(paths: list[Path]) -> list[Path]:
    """Named files as they are, folders by the pictures below them, sorted.

    Raises: DataError when a folder holds no picture.
    """
    from limner.data.sources.rowfiles import PICTURE_SUFFIXES

    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        below = sorted(p for p in path.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file())
        if not below:
            raise DataError(
                f"no pictures in {path}", wanted="files ending in " + " ".join(sorted(PICTURE_SUFFIXES))
            )
        found += below
    return found


def as_values(result: "Captioned") -> dict[str, Any]:
    """One picture's captions, or why there are none, as plain values."""
    problem = result.problem
    return {
        "picture": str(result.source),
        "captions": [{"text": text, "log_prob": round(log_prob, 4)} for text, log_prob in result.captions],
        "problem": problem and {"reason": problem.reason, "message": problem.given},
    }


def _print(result: "Captioned", *, named: bool) -> None:
    if result.problem is not None:
        talk(f"{result.source}: {result.problem.reason}: {result.problem.given}", colour=typer.colors.RED)
    for line in result.captions:
        typer.echo(f"{result.source}: {line.text}" if named else line.text)
