"""`limner evaluate`: what the four papers measured, of any model on any table."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.search import find_table
from limner.cli.terminal import Bar, Json, give, stoppable, talk

if TYPE_CHECKING:
    from limner.suite.run import Finished

PAPER = "paper"


def evaluate(
    task: Annotated[
        str,
        typer.Argument(help="Tasks, with commas between; paper: what public models are known to score."),
    ] = "",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Models, or files of vectors; may be repeated.", envvar="LIMNER_MODEL"
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", "-d", help="Tables, or folders of pictures; may be repeated."),
    ] = None,
    where: Annotated[str, typer.Option(help="Only rows this SQL filter holds for.", show_default=False)] = "",
    count: Annotated[int, typer.Option(min=0, help="The first so many of these; 0 is all.")] = 0,
    texts_column: Annotated[str, typer.Option(help="Where captions are.")] = "texts",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting: name=value, or task.name=value; may be repeated."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path("evaluation"),
    force: Annotated[bool, typer.Option("--force", help="Measure again what is there.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Say which tasks there are.")] = False,
    as_json: Json = False,
) -> None:
    """Measure models on tables.

    Without a task, or with --list, it says which tasks there are. Results are records in a folder, with
    samples that limner compare pairs; what is there already is not measured again. A model or a table that a
    task cannot be measured with is refused, the others go on, and the exit code is 1.
    """
    if listed or not task:
        _list(task, as_json)
        return
    models = model or ["limner_tiny"]
    if task == PAPER:
        _paper(models, data or [], out, as_json)
        return
    from limner.suite.run import Asked
    from limner.suite.run import evaluate as run
    from limner.suite.selection import Selection

    advice = f"what is measured is in {out}; the same command goes on"
    finished: list[Finished] = []
    with stoppable(advice), ExitStack() as bars:
        rows: dict[str, Any] = {"where": where, "count": count, "texts_column": texts_column}
        tables = [Selection(path=_table(path), **rows) for path in data or [Path("pairs.lance")]]
        asked = Asked(task.split(","), models, tables, assignments or [], force)
        for one in run(asked, out, lambda title: bars.enter_context(Bar(title))):
            bars.close()
            finished.append(one)
            if not as_json:
                _print(one)
            elif one.failed:
                talk(f"refused: {_combination(one)}\n  {one.record['error']}", colour=typer.colors.RED)
    if as_json:
        give([one.record | {"reused": one.reused} for one in finished])
    _draw(finished, out)
    _end(finished, out)


def _draw(finished: "list[Finished]", out: Path) -> None:
    """The curves over few labels, where some were measured."""
    curves = [one.record for one in finished if one.record["task"] == "fewshot" and not one.failed]
    if curves:
        from limner.report.fewshot import write_fewshot

        talk(f"{write_fewshot(out / 'fewshot.png', curves)}: the curves")


def _table(path: Path) -> str:
    """The path of a table; of one made in the cache for a folder of pictures."""
    if path.is_dir() and not (path / "_versions").is_dir():
        return str(find_table(path).path)
    return str(path)


def _list(task: str, as_json: bool) -> None:
    from limner.config import to_toml
    from limner.suite.tasks import TASKS

    shown = {name: entry for name, entry in TASKS.items() if not task or name in task.split(",")}
    if as_json:
        give(
            [
                {"task": name, "title": entry.title, "settings": entry.settings().model_dump(mode="json")}
                for name, entry in shown.items()
            ]
        )
        return
    width = max(map(len, [*shown, PAPER]))
    for name, entry in shown.items():
        typer.echo(f"{name:<{width}}  {entry.title}")
        if task:
            typer.echo("".join(f"  {line}\n" for line in to_toml(entry.settings()).splitlines()), nl=False)
    if not task:
        typer.echo(f"{PAPER:<{width}}  what public models are known to score, and the commands that check it")
        talk("limner evaluate TASK --list shows the settings of one")


def _paper(models: list[str], data: list[Path], out: Path, as_json: bool) -> None:
    from limner.suite.paper import claims_of, measure_claim

    claims = [claim for name in models for claim in claims_of(name)]
    found = []
    for claim in claims:
        values = claim.values() | measure_claim(claim, [_table(path) for path in data], out)
        found.append(values)
        if not as_json:
            _print_claim(values)
    if as_json:
        give(found)
    if any(values["status"] == "missed" for values in found):
        raise typer.Exit(1)


def _print_claim(values: dict[str, Any]) -> None:
    unit = "" if "CIDEr" in values["measure"] else " %"
    expected = f"{values['expected']:g}{unit} ± {values['tolerance']:g}"
    typer.echo(f"{values['measure']}: {expected}  ({values['protocol']}; {values['source']})")
    typer.echo(f"  {values['command']}")
    typer.echo(f"  {values['status']}: {values['said']}")


def _print(one: "Finished") -> None:
    again = " (measured before)" if one.reused else ""
    typer.echo(f"{_combination(one)}{again}")
    if one.failed:
        talk("  refused: " + one.record["error"].replace("\n", "\n  "), colour=typer.colors.RED)
        return
    measures = one.record["measures"]
    width = max(map(len, measures))
    for name, measure in measures.items():
        typer.echo(f"  {name:<{width}}  {_value(measure)}")
    for note in one.record["notes"]:
        typer.echo(f"  note: {note}")


def _combination(one: "Finished") -> str:
    record = one.record
    return " · ".join(filter(None, (record["task"], record["model"], record["table"])))


def _value(measure: dict[str, Any]) -> str:
    if "low" not in measure:
        return _number(measure["value"])
    return f"{_number(measure['value'])}  [{_number(measure['low'])}, {_number(measure['high'])}]"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def _end(finished: "list[Finished]", out: Path) -> None:
    from limner.suite.features import feature_folder, kept_bytes

    failed, reused = sum(one.failed for one in finished), sum(one.reused for one in finished)
    kept = kept_bytes()
    if kept:
        talk(f"{kept / 1e6:.1f} MB of vectors in {feature_folder()}, which may be deleted")
    said = f"{len(finished) - failed} results in {out}"
    said += f", {reused} of them measured before" if reused else ""
    talk(said + (f"; {failed} refused" if failed else ""))
    if failed:
        raise typer.Exit(1 if failed < len(finished) else 2)
