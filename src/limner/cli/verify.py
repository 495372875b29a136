"""`limner verify`: is this model what its source says it is, and as good."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from limner.cli.terminal import Activation, Bar, ImageSize, Json, Tokenizer, give, options_of, stoppable, talk
from limner.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limner.checkpoint import Bundle
    from limner.convert.check import Check
    from limner.convert.public import Expected


def verify(
    model: Annotated[str, typer.Argument(help="A model, as limner inspect takes it.", show_default=False)],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", "-d", help="Labelled table, or a folder a class, to measure on.", show_default=False
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Only this split of the table.", show_default=False)] = "",
    template: Annotated[
        list[str] | None,
        typer.Option(help='Text around a label, "a photo of a {}."; several are averaged.'),
    ] = None,
    tokenizer: Tokenizer = None,
    image_size: ImageSize = None,
    activation: Activation = None,
    as_json: Json = False,
) -> None:
    """Check a model against known answers.

    Sizes, activation, epsilon, preparation of pictures, order of labels, ids of words, weights and outputs.
    The exit code is 1 when one of them is not as it must be; each such line says what to do.
    """
    from limner.convert.opening import open_bundle
    from limner.convert.verify import published
    from limner.convert.verify import verify as check

    with stoppable("nothing is left half-written"):
        options = options_of(activation)
        bundle = open_bundle(model, tokenizer=tokenizer, image_size=image_size, options=options)
        checks = check(bundle)
        measured = measure(bundle, data, split, template) if data else None
    known = published(bundle.source)
    expected = known.expected if known else ()
    if as_json:
        scores = [score._asdict() for score in expected]
        give(
            {
                "model": model,
                "variant": bundle.name,
                "ok": all(line.ok for line in checks),
                "checks": [line._asdict() for line in checks],
                "expected": scores,
                "measured": measured and measured._asdict(),
            }
        )
    else:
        _print_checks(checks)
        _print_scores(model, expected, measured)
    failed = [line for line in checks if not line.ok]
    if failed:
        talk(f"{len(failed)} of {len(checks)} checks failed: {', '.join(line.name for line in failed)}")
        raise typer.Exit(1)
    talk(f"all {len(checks)} checks hold")


class Measured(NamedTuple):
    """An accuracy.

    Args:
        top1: per cent.
        right: pictures whose likeliest class is theirs.
        rows: pictures looked at.
        how: "classifier" or "zero-shot".
    """

    top1: float
    right: int
    rows: int
    how: str


def measure(
    bundle: "Bundle", data: Path, split: str = "", templates: "Sequence[str] | None" = None
) -> Measured:
    """Top-1 accuracy on labelled pictures: by the model's classifier, else zero-shot on their labels.

    Args:
        bundle: the model.
        data: as `labelled` takes it.
        split: likewise.
        templates: of zero-shot classification.
    Raises: DataError when there are no labels, or labels that are not the model's; ConfigError when the model
        cannot classify; PictureError when a picture is refused.
    """
    from limner.ready import Ready

    ready, pictures = Ready(bundle), labelled(data, split)
    classes = int(getattr(bundle.model.config, "num_classes", 0) or 0)
    own = bundle.labels or tuple(map(str, range(classes)))
    given = sorted(set(pictures.labels))
    numbers = class_numbers(given, own) if own else {label: place for place, label in enumerate(given)}
    asked: dict[str, Any] = {} if own else {"labels": given, "templates": templates}
    right, count = 0, len(pictures.labels)
    with Bar("measure") as progress:
        for start in range(0, count, ready.batch_size):
            places = range(start, min(start + ready.batch_size, count))
            best = ready.classify(pictures.read(places), top=1, **asked)
            truth = [numbers[pictures.labels[place]] for place in places]
            right += sum(line[0].index == number for line, number in zip(best, truth, strict=True))
            progress(places.stop, count)
    return Measured(100 * right / count, right, count, "classifier" if own else "zero-shot")


class Labelled(NamedTuple):
    """Pictures with a class each.

    Args:
        labels: of each.
        read: gives pictures by their places, as `Ready.classify` takes them.
    """

    labels: list[str]
    read: "Callable[[Sequence[int]], list[Any]]"


def labelled(data: Path, split: str = "") -> Labelled:
    """Labelled pictures of a table, or of a folder with a folder a class.

    Args:
        data: the table or the folder.
        split: only these rows of a table; all when empty.
    Raises: DataError when there are no labels.
    """
    found = _of_table(data, split) if (data / "_versions").is_dir() or not data.is_dir() else _of_folder(data)
    if not found.labels:
        raise DataError(
            f"{data} has no labels" + (f" in the split {split!r}" if split else ""),
            wanted="a table with a class name in each row's label, or a folder with a folder a class",
        )
    return found


def _of_table(path: Path, split: str) -> Labelled:
    from limner.data.table import Table

    table = Table.open(path)
    labels = table.column("label")
    splits = table.column("split") if split else [""] * len(labels)
    pairs = enumerate(zip(labels, splits, strict=True))
    rows = [place for place, (label, part) in pairs if label and part == split]

    def read(places: "Sequence[int]") -> list[Any]:
        return [row["image"] for row in table.rows([rows[place] for place in places], ["image"])]

    return Labelled([labels[row] for row in rows], read)


def _of_folder(folder: Path) -> Labelled:
    from limner.data.sources.rowfiles import PICTURE_SUFFIXES

    paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in PICTURE_SUFFIXES)
    return Labelled([path.parent.name for path in paths], lambda places: [paths[place] for place in places])


def class_numbers(given: "Sequence[str]", own: "Sequence[str]") -> dict[str, int]:
    """Which of a model's classes each label is.

    Args:
        given: labels of pictures.
        own: the model's labels, in the order of its outputs; see `limner.suite.classes.matched_classes`.
    Raises: DataError when one of them is none of the model's.
    """
    from limner.suite.classes import matched_classes

    found = matched_classes(given, own)
    strange = [label for label, place in found.items() if place is None]
    if strange:
        raise DataError(
            f"{len(strange)} labels are none of the model's: {', '.join(strange[:5])}",
            wanted=f"one of its {len(own)}, such as {', '.join(own[:5])}; or its number",
        )
    return {label: place for label, place in found.items() if place is not None}


def _print_checks(checks: "list[Check]") -> None:
    width = max(len(line.name) for line in checks)
    for line in checks:
        if line.ok:
            typer.echo(f"ok    {line.name:<{width}}  {_short(line.found)}")
            continue
        typer.echo(f"WRONG {line.name:<{width}}  {_short(line.found)}, expected {_short(line.expected)}")
        typer.echo(f"      {'':<{width}}  {line.hint}")


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def _print_scores(model: str, expected: "Sequence[Expected]", measured: Measured | None) -> None:
    for score in expected:
        unit = "" if "CIDEr" in score.measure else " %"
        typer.echo(f"known: {score.measure} {score.value:g}{unit} ({score.protocol}; {score.source})")
    if measured:
        typer.echo(
            f"measured: top-1 {measured.top1:.2f} %, {measured.right:,} of {measured.rows:,} ({measured.how})"
        )
    elif any("top-1" in score.measure for score in expected):
        typer.echo(f"measure it: limner verify {model} --data TABLE")
