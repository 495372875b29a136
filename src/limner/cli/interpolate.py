"""`limner interpolate`: weights between a model before and after fine-tuning, measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.terminal import Json, give, stoppable, talk

if TYPE_CHECKING:
    from limner.recipe.interpolate import Interpolation


def interpolate(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run with --start.")],
    alpha: Annotated[
        list[float] | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the fine-tuned weights; may be given again.",
            show_default="0, 0.25, 0.5, 0.75, 1",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", "-d", help="Measure on this table too; may be given again."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Keep the mixture of the one --alpha.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure weights between a model and its fine-tuned self.

    Fine-tuning on little data gains there and loses elsewhere; a mixture of both models' weights (WiSE-FT)
    often keeps most of both. Every mixture is measured on the run's own tables and on --data; alpha 0 is the
    model before, 1 after. --out keeps one as a model.
    """
    from limner.recipe.interpolate import ALPHAS
    from limner.recipe.interpolate import interpolate as interpolated

    with stoppable("nothing was written"):
        found = interpolated(run, alpha or ALPHAS, data or (), out, talk)
    if as_json:
        mixtures = [mixture._asdict() for mixture in found.mixtures]
        give({**found._asdict(), "run": str(run), "mixtures": mixtures, "model": out and str(out)})
        return
    _show(found)
    if found.model:
        typer.echo(f"{found.model}: the mixture of alpha {found.mixtures[0].alpha:g}")


def _show(found: "Interpolation") -> None:
    """One line a measure, one column a mixture."""
    names = list(found.mixtures[0].measures)
    width = max(map(len, ("alpha", *names)))
    typer.echo("alpha".ljust(width) + "".join(f"{mixture.alpha:>9g}" for mixture in found.mixtures))
    for name in names:
        typer.echo(
            name.ljust(width) + "".join(f"{mixture.measures[name]:>9.4f}" for mixture in found.mixtures)
        )
