"""`limner train`: a recipe in, a run folder with a model out."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import limner
from limner.cli.terminal import Json, give, stoppable, talk
from limner.errors import ConfigError

if TYPE_CHECKING:
    from limner.recipe import Recipe, RunResult
    from limner.recipe.sources import Captions

SHIPPED = (Path(limner.__file__).parent / "recipes", Path(limner.__file__).parents[2] / "recipes")
"""Where the recipes lie that come with limner: in an installed package, in a checkout."""


def train(
    recipe: Annotated[str, typer.Argument(help="TOML file, or a shipped recipe such as limner_tiny.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to make.", show_default=False)],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            help="Train on these tables or views instead, by weight.",
            metavar="TABLE[=WEIGHT]",
        ),
    ] = None,
    captions: Annotated[
        Literal["bootstrapped", "web", "synthetic", "kept-web"] | None,
        typer.Option(
            help="Texts of cleaned tables to train on.", show_default="as the recipe or --data says"
        ),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            help="Model to go on from, instead of fresh weights.", metavar="MODEL", show_default=False
        ),
    ] = "",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override one value.", metavar="SECTION.KEY=VALUE")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Measure a few steps; print what the run would need, and its whole recipe."
        ),
    ] = False,
    gpus: Annotated[
        int,
        typer.Option(
            min=0,
            help="Processes that share each batch, one a GPU; torchrun does the same on many machines.",
            show_default="1, or as torchrun says",
        ),
    ] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="End at the first alarm, instead of saying and recording it.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Train what a recipe says.

    Ctrl-C and SIGTERM save first; --resume goes on, to the very same weights. With --data a table that
    CapFilt cleaned gives its cleaned texts, and nothing is measured on scenes unless
    --set evaluate.count=400 asks for it.
    """
    from limner.recipe import run
    from limner.report.page import write_page

    sets = [*(["machine.strict=true"] if strict else []), *(overrides or ())]
    plan = read_recipe(recipe, data or (), start, sets)
    if captions is not None:
        plan = with_captions(plan, captions)
    if data:
        say_columns(plan)
    if dry_run:
        _print_plan(plan, as_json)
        return
    if gpus > 1 and "RANK" not in os.environ:
        _launch(gpus, plan.machine.device)
    first = os.environ.get("RANK", "0") == "0"
    with stoppable(f"the last checkpoint in {out} is whole; the same command with --resume goes on from it"):
        result = run(plan, out, resume=resume, report=talk)
    if not first:
        return
    page = write_page(out)
    if as_json:
        give(result_values(result) | {"report": str(page)})
    else:
        _print(result, page)
    if result.model is None:
        talk(f"saved at step {result.step} of {result.steps}; go on with\n  {result.hint}")


def _launch(processes: int, device: str) -> None:
    """Become the parent of so many processes of this very command, and end as they end.

    Raises: ConfigError when there are not so many GPUs.
    """
    import torch

    from limner.train.launch import launch

    if device != "cpu" and torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise ConfigError(
            f"--gpus {processes}",
            wanted=f"at most {torch.cuda.device_count()}, the GPUs of this machine",
            hint='--set machine.device="cpu" runs on processors',
        )
    raise typer.Exit(launch(processes, sys.argv[1:]))


def _print_plan(recipe: "Recipe", as_json: bool) -> None:
    """What a run would be and need; its recipe as TOML, the plan in its head as comments."""
    from limner.config import to_toml
    from limner.recipe.plan import plan_of

    plan = plan_of(recipe, report=talk)
    if as_json:
        give(plan.values())
    else:
        typer.echo("".join(f"# {line}\n" for line in plan.lines()), nl=False)
        typer.echo(to_toml(plan.recipe), nl=False)
    plan.require_fit()


def read_recipe(name: str, tables: Iterable[str], start: str, overrides: Iterable[str]) -> "Recipe":
    """Find a recipe and lay the options over it; `--set` has the last word.

    Raises: ConfigError when there is no such recipe, or a value does not fit.
    """
    from limner.recipe import read

    sets = list(overrides)
    sources = [table_source(part) for text in tables for part in text.split(",") if part]
    before = [f"data.sources=[{', '.join(sources)}]", "evaluate.count=0"] if sources else []
    if start:
        before += [f"model.start={_quoted(start)}", "model.settings={}"]
    return read(find_recipe(name), before + sets)


def with_captions(recipe: "Recipe", which: "Captions") -> "Recipe":
    """A recipe whose tables are read for bootstrapped, web, synthetic or kept web captions.

    Raises: ConfigError when it reads no table; DataError when one was never cleaned.
    """
    from limner.recipe.sources import captioned

    data = recipe.data.model_copy(update={"sources": captioned(recipe.data.sources, which)})
    return recipe.model_copy(update={"data": data})


def find_recipe(name: str) -> Path:
    """A file as it is, or a shipped recipe by its name.

    Raises: ConfigError when there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    for folder in SHIPPED:
        path = folder / f"{name.removesuffix('.toml')}.toml"
        if path.is_file():
            return path
    shipped = sorted({path.stem for folder in SHIPPED for path in folder.glob("*.toml")})
    raise ConfigError(f"no recipe {name!r}", wanted=f"a TOML file, or one of {', '.join(shipped)}")


def table_source(text: str) -> str:
    """One `--data` value, a table or a view of one, as a TOML table for the recipe.

    Raises: DataError when there is no such table; ConfigError when the weight is no number above 0, or the
        view says something else.
    """
    from limner.data.table import Table
    from limner.recipe.sources import read_view

    path, _, weight = text.partition("=")
    try:
        share = float(weight or 1)
    except ValueError:
        share = 0.0
    if share <= 0:
        raise ConfigError(f"--data {text!r}", wanted="TABLE or TABLE=WEIGHT, with a weight above 0")
    if path.endswith(".toml"):
        view = read_view(path)
        values = view.model_dump(exclude_none=True) | {"weight": share}
        return f"{{{', '.join(f'{name} = {_quoted(value)}' for name, value in values.items())}}}"
    column = "texts_bootstrapped" if Table.open(path).has("texts_bootstrapped") else "texts"
    return f'{{kind="table", path={_quoted(path)}, texts_column="{column}", weight={share}}}'


def say_columns(recipe: "Recipe") -> None:
    """Say of each table which texts are read."""
    for source in recipe.data.sources:
        if source.kind == "table":
            talk(f"{source.path}: reading the column {source.texts_column}")


def _quoted(text: str | float) -> str:
    """A TOML string, number or flag."""
    import json

    return json.dumps(text)


def result_values(result: "RunResult") -> dict[str, Any]:
    """How a run ended, as plain values."""
    return result._asdict() | {"out": str(result.out), "model": result.model and str(result.model)}


def _print(result: "RunResult", page: Path) -> None:
    for name, value in result.measures.items():
        if name.count("/") == 1:
            typer.echo(f"{name:<28}{value:>9.4f}")
    typer.echo(
        f"{result.out}: {result.reason} at step {result.step:,} of {result.steps:,}, {result.seconds:.0f} s"
    )
    if result.model is not None:
        talk(f"next: {result.hint}")
        talk(f"look at it: {page}")
