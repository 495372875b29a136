"""`limner compare`: two runs of `limner evaluate`, sample by sample."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.terminal import Json, Seed, give, stoppable, talk
from limner.errors import DataError

if TYPE_CHECKING:
    from limner.suite.compare import Comparison


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A folder of results of limner evaluate.")],
    second: Annotated[
        Path | None, typer.Argument(metavar="[RUN_B]", help="Another; left out, both are in RUN_A.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Only these two models: first, then second."),
    ] = None,
    task: Annotated[str, typer.Option(help="Only this task.", show_default=False)] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page.", show_default="RUN_A/compare.html")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Say what changed between two models, and how sure that is.

    Results of one task on one table are paired, samples by their keys: the difference with its paired 95 %
    interval and exact test, every measure side by side, classes with corrected p, and what flipped, with its
    pictures, on one page.
    """
    from limner.report.compare import write_compare
    from limner.suite.compare import compare as compared
    from limner.suite.compare import matched, results_of
    from limner.suite.pictures import pictures_of

    names = model or _two_models(first) if second is None else model or ["", ""]
    if len(names) != 2:
        raise DataError(
            f"{len(names)} models: {', '.join(names)}",
            wanted="two to compare",
            hint=f"limner compare {first} --model A --model B",
        )
    with stoppable("nothing was written"):
        pairs = matched(results_of(first, names[0], task), results_of(second or first, names[1], task))
        found = [compared(*pair, seed) for pair in pairs]
        shown = {(one.table, flip.key) for one in found for flip in (*one.gained, *one.lost)}
        versions = {pair[0].table: pair[0].rest.get("version") for pair in pairs}
        page = out or first / "compare.html"
        write_compare(page, [one.values() for one in found], pictures_of(shown, versions))
    if as_json:
        give({"page": str(page), "comparisons": [one.values() for one in found]})
        return
    for one in found:
        _show(one)
    typer.echo(f"{page}: the page")


def _two_models(folder: Path) -> list[str]:
    """The models of one folder's results, in the order they were measured."""
    from limner.suite.compare import results_of

    return list(dict.fromkeys(result.model for result in results_of(folder)))


def _show(one: "Comparison") -> None:
    """The difference and the measures."""
    from limner.report.compare import verdict

    told = one.difference
    typer.echo(f"{one.task} on {one.table}: {one.models[0]} → {one.models[1]}")
    typer.echo(
        f"  {told.value:+.4f} [{told.low:+.4f}, {told.high:+.4f}], p {told.p:.2g}: "
        f"{verdict(told._asdict())}; {told.better} better, {told.worse} worse of {told.samples}"
    )
    width = max(map(len, one.measures))
    for name, (before, after) in one.measures.items():
        typer.echo(f"  {name:<{width}}  {before:.4f} → {after:.4f}  {after - before:+.4f}")
    if any(one.unpaired):
        talk(f"  left out: {one.unpaired[0]} samples only in the first, {one.unpaired[1]} only in the second")
