"""The command line: one file a verb; parse, call, print.

stdout is data, stderr is talk. Exit codes: 0 done · 1 done, but some inputs were refused · 2 nothing done,
the message says what to do · 130 stopped by Ctrl-C. Torch and friends are imported inside the verbs, so that
`limner --help` answers at once.
"""

import errno
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import limner
from limner.cli.capfilt import capfilt
from limner.cli.capfilt_select import capfilt_select
from limner.cli.capfilt_tune import capfilt_tune
from limner.cli.caption import caption
from limner.cli.compare import compare
from limner.cli.convert import convert
from limner.cli.evaluate import evaluate
from limner.cli.export import export
from limner.cli.human import human
from limner.cli.import_table import import_table
from limner.cli.inspect import inspect
from limner.cli.interpolate import interpolate
from limner.cli.models import models
from limner.cli.quickstart import quickstart
from limner.cli.replay import replay
from limner.cli.report import report
from limner.cli.review import review
from limner.cli.scrub import scrub
from limner.cli.search import search
from limner.cli.study import study
from limner.cli.table import table
from limner.cli.terminal import STOPPED, Stopped, leave_on_ctrl_c, talk
from limner.cli.train import train
from limner.cli.verify import verify
from limner.errors import LimnerError

_OF_PATHS = {
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.ENAMETOOLONG,
}
"""What the system says of a path that somebody has named: a file for a folder, no right, no room."""


class Verbs(TyperGroup):
    """Runs a verb; what a user can act on becomes a message and an exit code, a bug keeps its traceback."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb of this command line, of one word or of two."""
        two = " ".join(args[:2])
        return super().resolve_command(ctx, [two, *args[2:]] if two in self.commands else args)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb of this command line."""
        try:
            return super().invoke(ctx)
        except LimnerError as error:
            if ctx.params.get("debug"):
                raise
            talk(f"error: {error}", colour=typer.colors.RED)
            raise typer.Exit(2) from error
        except OSError as error:
            if ctx.params.get("debug") or error.errno not in _OF_PATHS or error.filename is None:
                raise
            talk(f"error: {error.filename}: {error.strerror}", colour=typer.colors.RED)
            talk("  try:    another path; limner --debug VERB … shows what wanted this one")
            raise typer.Exit(2) from error
        except (Stopped, KeyboardInterrupt) as stopped:
            talk(
                f"\nstopped: {str(stopped) or 'nothing is left half-written; the same command starts again'}"
            )
            raise typer.Exit(STOPPED) from stopped


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: limner quickstart",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"limner {limner.__version__}")
        raise typer.Exit


@app.callback()
def _limner(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="LIMNER_DEBUG", help="Show the traceback of errors.")
    ] = False,
) -> None:
    """From pixels to language: clean image-text pairs, train on them, caption and search pictures."""


app.command("quickstart")(quickstart)
app.command("import")(import_table)
app.command("table")(table)
app.command("scrub")(scrub)
app.command("export")(export)
app.command("caption")(caption)
app.command("search")(search)
app.command("capfilt")(capfilt)
app.command("capfilt select")(capfilt_select)
app.command("capfilt tune")(capfilt_tune)
app.command("review")(review)
app.command("train")(train)
app.command("interpolate")(interpolate)
app.command("evaluate")(evaluate)
app.command("replay")(replay)
app.command("report")(report)
app.command("compare")(compare)
app.command("human")(human)
app.command("study")(study)
app.command("models")(models)
app.command("inspect")(inspect)
app.command("convert")(convert)
app.command("verify")(verify)


def main() -> None:
    """Entry point of the `limner` command."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    leave_on_ctrl_c()
    try:
        app(prog_name="limner")
    except SystemExit as done:
        if done.code == STOPPED:  # threads of Lance may still run, and Python cannot end in peace beside them
            sys.stdout.flush()
            os._exit(STOPPED)
        raise
