"""What verbs share: data goes to stdout, talk and bars to stderr; options that several verbs have."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from limner.checkpoint import Bundle

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        envvar="LIMNER_MODEL",
        help="limner_tiny, a folder or a weight file, hub:ORG/NAME, or a public name (openai:ViT-B/32).",
    ),
]
Activation = Annotated[
    Literal["gelu", "quick_gelu", "gelu_tanh"] | None,
    typer.Option(help="Of a CLIP whose file does not say it.", show_default=False),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(help="Tokenizer to use instead: a file or a folder.", show_default=False),
]
ImageSize = Annotated[
    int | None,
    typer.Option(min=8, help="Pixels a side, when not the model's own.", show_default=False),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else there.")
]
Seed = Annotated[int, typer.Option("--seed", help="Of everything that is drawn by chance.")]

ONLY_EMOJI = (
    "note: the default model limner_tiny only knows emoji-like pictures; for photos, train one of your own "
    "(limner train) and name it with --model"
)


STOPPED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


class Stopped(Exception):
    """A verb was stopped by Ctrl-C; the message says what is safe and how to go on."""


@contextmanager
def stoppable(advice: str) -> Iterator[None]:
    """Let Ctrl-C in the block end the verb with advice; elsewhere see `leave_on_ctrl_c`.

    Args:
        advice: what is safe, and what to type to go on.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as error:
        raise Stopped(advice) from error
    finally:
        signal.signal(signal.SIGINT, before)


def leave_on_ctrl_c() -> None:
    """Let Ctrl-C end the process at once: before a verb begins its work there is nothing to save.

    An exception would strike in the middle of the imports, and some packages do not survive that.
    """

    def leave(*_: object) -> None:
        os.write(2, b"\nstopped: nothing was begun\n")
        os._exit(STOPPED)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, leave)


def talk(text: str, colour: str | None = None) -> None:
    """Say something to the person at the terminal; it never mixes with the data."""
    typer.secho(text, err=True, fg=colour)


def give(data: Any) -> None:
    """Print data as JSON."""
    typer.echo(json.dumps(data, ensure_ascii=False, indent=1))


class Bar:
    """Shows how far a job is from its first step on: a bar on a terminal, one line elsewhere.

    Args:
        title: of the job.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._shown: Any = None

    def __enter__(self) -> "Bar":
        return self

    def __call__(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` items are done; the total may be unknown."""
        if self._shown is None:
            self._shown = self._show()
        if self._shown:
            self._shown.update(self._shown.task_ids[0], completed=done, total=total)

    def __exit__(self, *exception: object) -> None:
        if self._shown:
            self._shown.stop()

    def _show(self) -> Any:
        """A running rich bar, or False where there is no terminal."""
        if not sys.stderr.isatty():
            talk(f"{self.title} …")
            return False
        from rich import progress
        from rich.console import Console

        shown = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        shown.add_task(self.title, total=None)
        shown.start()
        return shown


def open_model(name: str) -> "Bundle":
    """Open a model, and say what the default one cannot do."""
    from limner import checkpoint
    from limner.convert.opening import open_bundle

    bundle = open_bundle(name)
    if bundle.path == checkpoint.ASSETS / checkpoint.DEFAULT:
        talk(ONLY_EMOJI, colour=typer.colors.YELLOW)
    return bundle


def options_of(activation: str | None) -> dict[str, Any] | None:
    """What the user says of a file that does not say it itself."""
    return {"activation": activation} if activation else None
