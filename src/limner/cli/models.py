"""`limner models`: the sizes that have names."""

from typing import Annotated, Any

import typer

from limner.cli.terminal import Json, give
from limner.errors import ConfigError


def models(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern with *; aliases count.")] = "*",
    as_json: Json = False,
) -> None:
    """List the models limner can build.

    With exact parameters, GMACs of one picture, input size and their names in other libraries. Weights are
    named apart: limner inspect says what a file holds.
    """
    from limner.models import names

    found = names(pattern) or names(f"*{pattern}*")
    if not found:
        raise ConfigError(
            f"no model fits {pattern!r}", wanted="part of a name", hint="limner models lists them all"
        )
    rows = [values(name) for name in found]
    if as_json:
        give(rows)
        return
    width = max(len(name) for name in found)
    typer.echo(f"{'name':<{width}}  {'parameters':>13}  {'GMACs':>8}  {'px':>4}  also called")
    for row in rows:
        size = f"{row['parameters'] or 0:>13,}  {row['gmacs'] or 0:>8.2f}  {row['image_size']:>4}"
        typer.echo(f"{row['name']:<{width}}  {size}  {', '.join(row['aliases'])}".rstrip())


def values(name: str) -> dict[str, Any]:
    """One model as plain values; sizes come from the committed table, nothing is built."""
    from limner.models import entry
    from limner.models.sizes import table

    line, size = entry(name), table().get(name)
    return {
        "name": name,
        "parameters": size.parameters if size else None,
        "gmacs": size.gmacs if size else None,
        "image_size": line.image_spec.size,
        "paper": line.paper,
        "aliases": list(line.aliases),
    }
