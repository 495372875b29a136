"""`limner study`: a paper's experiment at small scale, and what came of its claims."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.terminal import Bar, Json, give, stoppable, talk

if TYPE_CHECKING:
    from limner.studies.blip import CapFiltStudy, StudyResult


def study(
    paper: Annotated[str, typer.Argument(help="Whose experiment.", show_default="list them")] = "",
    experiment: Annotated[str, typer.Argument(help="Which one.", show_default="list them")] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of cells, records and page.", show_default="studies/PAPER-NAME"
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Worlds, each with models of its own.")] = None,
    arms: Annotated[
        str, typer.Option(help="Only these, with commas between.", show_default="tables 1, 2, 4")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another size, as in steps=200 or world.web=800; may be given again."),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="So small that it ends in seconds, to see it run.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Do every cell again.")] = False,
    as_json: Json = False,
) -> None:
    """Rerun a paper's experiment, small, and say what came of its claims.

    `limner study` lists what there is; `limner study blip capfilt` runs BLIP's ablations of CapFilt: each
    arm trained from scratch for several seeds, differences paired by seed, a verdict for every claim. A
    study that was stopped goes on with the same command; cells that are done are reused.
    """
    from limner.errors import ConfigError
    from limner.studies import STUDIES

    if not paper and not experiment:
        _list(STUDIES, as_json)
        return
    if (paper, experiment) not in STUDIES:
        raise ConfigError(
            f"no study {f'{paper} {experiment}'.strip()!r}",
            wanted=" or ".join(" ".join(name) for name in STUDIES),
            hint="limner study lists them",
        )
    from limner.studies.blip import run

    folder = out or Path("studies") / f"{paper}-{experiment}"
    asked = _settings(small, seeds, arms, settings or [])
    with stoppable(f"finished cells are safe in {folder}; the same command goes on"):
        result = run(asked, folder, Terminal(), force=force)
    if as_json:
        give(_values(result))
        return
    for line in [*means_table(result), "", *verdict_lines(result), "", f"report: {result.page}"]:
        typer.echo(line)
    talk(f"{result.cpu_s:,.0f} seconds of CPU for all cells")


class Terminal:
    """Tells the person at the terminal how far the study is."""

    say = staticmethod(talk)
    bar = Bar


def _list(studies: dict[tuple[str, str], str], as_json: bool) -> None:
    if as_json:
        give([{"study": " ".join(name), "reruns": what} for name, what in studies.items()])
        return
    for name, what in studies.items():
        typer.echo(f"{' '.join(name):<14}{what}")


def _settings(small: bool, seeds: int | None, arms: str, overrides: list[str]) -> "CapFiltStudy":
    from limner.config import build, override
    from limner.studies.blip import SMALL, CapFiltStudy

    values = (SMALL if small else CapFiltStudy()).model_dump(mode="json")
    values |= {"seeds": seeds} if seeds else {}
    values |= {"arms": arms.split(",")} if arms else {}
    return build(override(values, overrides), CapFiltStudy, "limner study")


def means_table(result: "StudyResult") -> list[str]:
    """Means of every arm with the half width of their intervals, the paper's numbers below."""
    from limner.studies.blip_paper import PAPER

    measures = list(dict.fromkeys(row["measure"] for row in result.means))
    lines = ["arm             " + "".join(f"{SHORT.get(name, name):>18}" for name in measures)]
    for arm in dict.fromkeys(row["arm"] for row in result.means):
        found = {row["measure"]: row for row in result.means if row["arm"] == arm}
        lines.append(f"{arm:<16}" + "".join(f"{_mean(found.get(name)):>18}" for name in measures))
        paper = [PAPER[arm].get(name) for name in measures]
        lines.append(f"{'  paper':<16}" + "".join(f"{'' if n is None else f'{n:.3f}':>18}" for n in paper))
    return lines


def verdict_lines(result: "StudyResult") -> list[str]:
    """A line a claim and measure."""
    lines = []
    for row in result.verdicts:
        said = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}], paper {row['paper']:+.3f}"
        name = SHORT.get(row["measure"], row["measure"])
        lines.append(
            f"table {row['table']}  {row['better']} − {row['worse']}, {name}: {said}: {row['verdict']}"
        )
    return lines


SHORT = {"i2t_r1": "i→t R@1", "t2i_r1": "t→i R@1", "cider_d": "CIDEr-D"}
"""Measures as a terminal has room for."""


def _mean(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    return f"{row['value']:.3f}" + (f" ±{row['high'] - row['value']:.3f}" if row["seeds"] > 1 else "")


def _values(result: "StudyResult") -> dict[str, Any]:
    """What came out, as plain values; an end that an interval lacks is null."""
    values = result._asdict() | {"out": str(result.out), "page": str(result.page)}
    plain: dict[str, Any] = json.loads(json.dumps(values), parse_constant=lambda word: None)
    return plain
