"""`limner capfilt tune`: a captioner and a filter from one start, tuned apart on clean pairs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.terminal import Json, Model, Seed, give, open_model, stoppable, talk
from limner.cli.train import find_recipe, result_values

if TYPE_CHECKING:
    from limner.recipe import Recipe, RunResult
    from limner.recipe.tuning import Part

PAPER: "dict[Part, str]" = {"captioner": "blip_base_coco_captioning", "filter": "blip_base_coco_retrieval"}
"""The paper's fine-tuning that each of the two follows."""


def capfilt_tune(
    table: Annotated[Path, typer.Argument(help="Clean table, or any with --labels.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of both runs.", show_default=False)],
    labels: Annotated[
        str,
        typer.Option(
            help="Learn from texts that are called good: review, a column, or a CSV of key,text,good.",
            show_default="every text",
        ),
    ] = "",
    model: Model = "limner_tiny",
    texts_column: Annotated[str, typer.Option(help="Where the clean texts are.")] = "texts",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one value in both recipes.", metavar="SECTION.KEY=VALUE"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write both recipes, and train nothing.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the runs in --out.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fine-tune a captioner and a filter, apart, from one start.

    By the settings of BLIP's fine-tunings on COCO: 5 and 6 epochs, AdamW, learning rate 1e-5 that falls with
    each epoch, weight decay 0.05. Without a clean table, --labels learns from pairs that people have checked.
    The folder is then a --model of limner capfilt.
    """
    from limner.data.table import Table
    from limner.recipe import read
    from limner.recipe.tuning import BASE_WIDTH, clean_pairs, tuned

    bundle = open_model(model)
    clean = clean_pairs(Table.open(table), texts_column, labels)
    talk(f"{clean.pairs:,} pairs of {table}, column {clean.column}")
    papers: dict[Part, Recipe] = {part: read(find_recipe(name)) for part, name in PAPER.items()}
    recipes: dict[Part, Recipe] = {
        part: tuned(part, paper, model, bundle, clean, seed=seed, overrides=overrides or ())
        for part, paper in papers.items()
    }
    rate = recipes["captioner"].optim.lr
    small = bundle.blip()[0].config.vision.width < BASE_WIDTH
    if small and all(recipes[part].optim.lr == paper.optim.lr for part, paper in papers.items()):
        talk(f"note: {rate:g} is BLIP-base's rate; a small model hardly learns by it: --set optim.lr=3e-4")
    written = write_recipes(out, recipes)
    results: dict[Part, RunResult] = {} if dry_run else run_both(out, recipes, resume)
    done = len(results) == len(recipes) and all(result.model for result in results.values())
    if as_json:
        runs = {part: result_values(result) for part, result in results.items()}
        give({"out": str(out), "pairs": clean.pairs, "recipes": list(map(str, written)), "runs": runs})
        return
    for part, result in results.items():
        typer.echo(f"{part:<10} {result.reason} at step {result.step:,} of {result.steps:,}: {result.out}")
    if done:
        talk(f"next: limner capfilt TABLE --model {out}")
    elif not dry_run:
        talk("saved; the same command with --resume goes on")


def write_recipes(out: Path, recipes: "dict[Part, Recipe]") -> list[Path]:
    """Write each recipe beside its run, as `limner train` takes it."""
    from limner.config import to_toml

    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for part, recipe in recipes.items():
        path = out / f"{part}.toml"
        path.write_text(to_toml(recipe), encoding="utf-8")
        paths.append(path)
    return paths


def run_both(out: Path, recipes: "dict[Part, Recipe]", resume: bool) -> "dict[Part, RunResult]":
    """Train one after the other; a run that was stopped ends both."""
    from limner.recipe import run
    from limner.report.page import write_page

    results: dict[Part, RunResult] = {}
    with stoppable(f"the last checkpoint in {out} is whole; the same command with --resume goes on from it"):
        for part, recipe in recipes.items():
            folder = out / part
            begun = resume and (folder / "recipe.toml").exists()
            results[part] = run(recipe, folder, resume=begun, report=talk)
            write_page(folder)
            if results[part].model is None:
                break
    return results
