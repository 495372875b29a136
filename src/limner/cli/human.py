"""`limner human`: CLIP's test of people, on a page of this machine, and what came out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.terminal import Bar, Json, Seed, give, open_model, stoppable, talk

if TYPE_CHECKING:
    from limner.suite.human import Study
    from limner.suite.human_report import HumanReport


def human(
    place: Annotated[
        Path, typer.Argument(metavar="TABLE|STUDY", help="A labelled table, or a study's folder.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The study's folder.", show_default="TABLE.people")
    ] = None,
    where: Annotated[str, typer.Option(help="Only rows this SQL filter holds for.", show_default=False)] = "",
    per_class: Annotated[int, typer.Option(min=1, help="Pictures asked of each class.")] = 5,
    shots: Annotated[str, typer.Option(help="Examples a class in each part.")] = "0,1,2",
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8017,
    report: Annotated[
        bool, typer.Option("--report", help="Write what was answered, and show no page.")
    ] = False,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Ask this model too; may be given again.")
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option(help='Text around a class for models, "a photo of a {}."')
    ] = None,
    seed: Seed = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Draw the pictures, say how many, and end.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let people take the test that models take.

    CLIP's test, with zero, one and two examples a class. The page asks anybody who opens it for a name and
    then, picture by picture, for the class; answers are kept as they come. The same command goes on with the
    same study. --report scores the answers: accuracy, majority vote, both on guesses alone, error
    consistency, and beside each --model whether the same classes are hard.
    """
    from limner.suite.human import STUDY, HumanSettings, open_study

    is_study = (place / STUDY).exists()
    folder = place if is_study else out or place.with_name(f"{place.stem}.people")
    settings = (
        None
        if is_study
        else HumanSettings(path=str(place), where=where, per_class=per_class, shots=_parts(shots), seed=seed)
    )
    with stoppable(f"answers are kept in {folder}; limner human {folder} goes on"):
        study = open_study(folder, settings)
        if report:
            _report(study, model or [], template, as_json)
        elif dry_run:
            _say(study, as_json)
        else:
            _say(study, as_json)
            _serve(study, host, port)


def _parts(text: str) -> tuple[int, ...]:
    from limner.errors import ConfigError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"--shots {text!r}", wanted="numbers with commas between", hint="--shots 0,1,2"
        ) from None


def _say(study: "Study", as_json: bool) -> None:
    from limner.suite.human import answers_of

    parts = study.settings.shots
    values: dict[str, Any] = {
        "study": str(study.folder),
        "classes": len(study.classes),
        "pictures": len(study.asked),
        "questions": len(study.asked) * len(parts),
        "answers": len(answers_of(study)),
    }
    if as_json:
        give(values)
        return
    typer.echo(
        f"{study.folder}: {values['pictures']} pictures of {values['classes']} classes, "
        f"{values['questions']} questions a person, {values['answers']} answers so far"
    )


def _serve(study: "Study", host: str, port: int) -> None:
    from limner.serve.human import human_app
    from limner.serve.local import local_server, run_server

    talk(
        f"http://{host}:{port} asks. Ctrl-C ends, answers are kept; then limner human {study.folder} --report"
    )
    run_server(local_server(human_app(study), host, port))


def _report(study: "Study", models: list[str], templates: list[str] | None, as_json: bool) -> None:
    from limner.ready import Ready
    from limner.report.human import write_human
    from limner.suite.human_report import human_report, model_answers

    said = []
    for name in models:
        with Bar(f"ask {name}") as progress:
            said.append((name, model_answers(study, Ready(open_model(name)), templates, progress)))
    found = human_report(study, said)
    hardest = [one["key"] for one in found.hardest]
    pictures = dict(zip(hardest, study.pictures(hardest), strict=True))
    page = write_human(study.folder / "report.html", study.title, found.values(), pictures)
    if as_json:
        give(_plain({**found.values(), "page": str(page)}))
        return
    _show(found)
    typer.echo(f"{page}: the page")


def _show(found: "HumanReport") -> None:
    """CLIP's table."""
    names = [f"people, {part.shots} examples" for part in found.parts] + [one.name for one in found.models]
    width = max(map(len, (*names, "")))
    typer.echo(" " * width + "  people  accuracy  majority  on guesses  majority on guesses")
    for name, part in zip(names, found.parts, strict=False):
        scores = part.scores
        typer.echo(
            f"{name:<{width}}{part.people:>8}{scores.accuracy:>10.3f}{scores.majority:>10.3f}"
            f"{scores.guess_accuracy:>12.3f}{scores.guess_majority:>21.3f}"
        )
    for model in found.models:
        typer.echo(
            f"{model.name:<{width}}{'':>8}{model.accuracy:>10.3f}   beside {model.shots} examples: "
            f"difficulty {model.difficulty.value:+.2f}, error consistency {model.consistency:+.2f}"
        )


def _plain(value: Any) -> Any:
    """NaN as null, which JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and value != value else value
