"""`limner inspect`: a weight file in, what it is out."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.terminal import Activation, Json, give, options_of, stoppable, talk
from limner.errors import LimnerError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 5


def inspect(
    source: Annotated[
        str,
        typer.Argument(
            help="A weight file, a folder, hub:ORG/NAME, a URL or a public name.", show_default=False
        ),
    ],
    activation: Activation = None,
    as_json: Json = False,
) -> None:
    """Say what a checkpoint is, and whether it opens.

    Family, sizes, who wrote it, preparation of pictures, tokenizer, labels, keys that are missing or have no
    place, and what had to be assumed. The exit code is 1 when it does not open; the message says why.
    """
    from limner.convert.inspection import inspect as look

    try:
        with stoppable("nothing is left half-written"):
            found = look(source, options_of(activation))
    except LimnerError as error:
        if as_json:
            problem = {"given": error.given, "wanted": error.wanted, "hint": error.hint}
            give({"source": source, "opens": False, "problem": problem})
        talk(f"error: {error}", colour=typer.colors.RED)
        raise typer.Exit(1) from error
    opens = not found["missing"] and not found["unused"]
    if as_json:
        give(found | {"opens": opens, "problem": None if opens else _misfit(found)})
    else:
        show(list(lines(found)))
    if not opens:
        talk(f"it does not open: {_misfit(found)['given']}", colour=typer.colors.RED)
        raise typer.Exit(1)


def _misfit(found: dict[str, Any]) -> dict[str, str]:
    given = f"{len(found['missing'])} keys are missing, {len(found['unused'])} have no place"
    return {"given": given, "wanted": f"exactly the tensors of this {found['family']}", "hint": ""}


def lines(found: dict[str, Any]) -> "Iterator[tuple[str, str]]":
    """What was found, as names and values for people."""
    pictures, tokenizer, labels = found["pictures"], found["tokenizer"], found["labels"]
    yield "model", f"{found['variant'] or _like(found['like'])} ({found['family']})"
    yield "layout", f"{found['dialect']}, {found['container']}"
    yield "task", found["task"] or "not said"
    yield "file", f"{found['file']}, {found['bytes'] / 1e6:,.1f} MB"
    yield "sha256", found["sha256"] + (f": {found['published']}" if found["published"] else "")
    kinds = ", ".join(f"{count} {kind}" for kind, count in found["dtypes"].items())
    yield "tensors", f"{found['tensors']} ({kinds}), {found['parameters']:,} parameters"
    yield "sizes", ", ".join(_sizes(found["sizes"], _telling(found)))
    yield "pictures", _pictures(pictures)
    yield "tokenizer", f"{tokenizer['kind']}, {tokenizer['words']:,} words" if tokenizer else "none"
    yield "labels", f"{len(labels):,}: {_some(labels)}" if labels else "none"
    for name in ("missing", "unused"):
        if found[name]:
            yield f"{name} keys", f"{len(found[name])}: {_some(found[name])}"
    for note in found["notes"]:
        yield "note", note


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _like(near: dict[str, Any]) -> str:
    if not near:
        return "sizes without a name"
    return f"{near['name']} but for " + ", ".join(f"{key} {value}" for key, value in near["but"].items())


_ALWAYS = {"activation", "layer_norm_eps", "num_heads", "stride_on", "shortcut"}


def _telling(found: dict[str, Any]) -> dict[str, Any]:
    """The sizes that are not what they are unless said."""
    from limner.models import ARCHITECTURES

    config = ARCHITECTURES[found["family"]].config.model_validate(found["sizes"])
    return config.model_dump(mode="json", exclude_defaults=True)


def _sizes(values: dict[str, Any], telling: dict[str, Any], prefix: str = "") -> "Iterator[str]":
    """Nested sizes in words, without those that go without saying."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _sizes(value, telling.get(name, {}), f"{prefix}{name}.")
        elif name in telling or name in _ALWAYS:
            yield f"{prefix}{name} {'×'.join(map(str, value)) if isinstance(value, list) else value}"


def _pictures(spec: dict[str, Any]) -> str:
    side = spec["resize_px"] or round(spec["size"] / spec["crop_fraction"])
    way = {"squash": "squashed", "center": "cut from the middle", "pad": "padded"}[spec["crop"]]
    before = f" of {side} px" if side != spec["size"] else ""
    mean, std = (", ".join(f"{value:.3g}" for value in spec[name]) for name in ("mean", "std"))
    return f"{spec['size']} px{before}, {way}, {spec['resampling']}, mean {mean}, std {std}"


def show(rows: list[tuple[str, str]]) -> None:
    """Print names and values: a table on a terminal, aligned lines elsewhere."""
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            typer.echo(f"{name:<{width}}  {value}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    Console(markup=False, highlight=False).print(table)
