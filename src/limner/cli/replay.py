"""`limner replay`: a batch that gave no finite loss, once more."""

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.terminal import Json, give


def replay(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    batch: Annotated[
        Path | None,
        typer.Option(help="Folder of the batch; the first that the run has kept.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay a batch whose loss or gradient was not finite.

    A run keeps such a batch in RUN/failed. It is given once more to the newest checkpoint before it, and the
    first module whose output is not finite is named. Nothing is written.
    """
    from limner.recipe.replay import replay as replayed

    found = replayed(run, batch)
    if as_json:
        give(found._asdict())
        return
    weights = "fresh weights" if found.checkpoint < 0 else f"the weights of step {found.checkpoint}"
    typer.echo(f"the batch of step {found.step + 1}, on {weights}: loss {found.loss}")
    for name, value in found.terms.items():
        typer.echo(f"  {name:<20}{value}")
    typer.echo(f"first output that is not finite: {found.first or 'none'}")
    shown = ", ".join(found.gradients[:5]) + f" and {len(found.gradients) - 5} more" * (
        len(found.gradients) > 5
    )
    typer.echo(f"gradients that are not finite: {shown or 'none'}")
    typer.echo(f"rows: {', '.join(found.keys[:8])}{' …' * (len(found.keys) > 8)}")
    if not found.first and not found.gradients:
        typer.echo(
            "all is finite on these weights: the weights of that step were the cause, so lower optim.lr"
        )
