"""Curves over few labels a class with zero-shot as the star at none, as CLIP's Figure 6: one picture file.

Source: Radford et al. 2021 (CLIP, arXiv 2103.00020), Figures 6 and 7.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from matplotlib.axes import Axes

from limner.report.figures import LIGHT, Interval, drawing

_LINES: Final = {"probe": "-", "from_text": "--", "least_squares": ":"}
_WIDTH, _HEIGHT, _ROW = 4.6, 3.0, 0.17


class Curves(NamedTuple):
    """What one model reached on one table.

    Args:
        model: its name.
        table: its name.
        methods: method → labels a class → accuracy.
        star: accuracy without a label; None where the model reads no texts.
        worth: labels a class that the probe needs for it.
    """

    model: str
    table: str
    methods: dict[str, dict[int, Interval]]
    star: Interval | None
    worth: float | None


def curves_of(record: Mapping[str, Any]) -> Curves:
    """The curves of one result of the task `fewshot`."""
    measures = record["measures"]
    methods = {
        method: {int(shots): _interval(measures[f"{method}_{shots}"]) for shots in curve}
        for method, curve in record["details"]["curves"].items()
    }
    star, worth = measures.get("zero_shot"), measures.get("effective_shots")
    return Curves(
        _name(record["model"]),
        Path(record["table"]).stem,
        methods,
        _interval(star) if star else None,
        worth["value"] if worth else None,
    )


def write_fewshot(out: str | Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Draw results of the task `fewshot`, one panel a table, one colour a model.

    Args:
        out: the picture, such as `fewshot.png`; the suffix says which kind.
        records: one or more.
    """
    panels: dict[str, list[Curves]] = {}
    for record in records:
        curves = curves_of(record)
        panels.setdefault(curves.table, []).append(curves)
    height = _HEIGHT + _ROW * (len(_LINES) + max(map(len, panels.values())))
    with drawing(_WIDTH * len(panels), height, columns=len(panels), light=True) as (figure, axes):
        for axis, (table, panel) in zip(axes, panels.items(), strict=True):
            _panel(axis, table, panel)
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=160, metadata={"Software": None})
    return Path(out)


def _name(model: str) -> str:
    """The last part of a model's path that says something: a run keeps its model in the folder "model"."""
    path = Path(model)
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def _interval(measure: Mapping[str, float]) -> Interval:
    value = measure["value"]
    return Interval(value, measure.get("low", value), measure.get("high", value))


def _panel(axis: Axes, table: str, panel: Sequence[Curves]) -> None:
    shots = sorted({k for one in panel for curve in one.methods.values() for k in curve})
    place = {0: 0, **{k: number + 1 for number, k in enumerate(shots)}}
    for colour, one in zip(LIGHT.values(), panel, strict=False):
        for method, curve in one.methods.items():
            _curve(axis, [place[k] for k in curve], list(curve.values()), colour, _LINES[method])
        marker = _star(axis, one.star, colour) if one.star else "o"
        axis.plot([], [], marker, color=colour, label=one.model + _said(one))
    for method in dict.fromkeys(method for one in panel for method in one.methods):
        axis.plot([], [], _LINES[method], color=LIGHT["grey"], label=method.replace("_", " "))
    axis.set_xticks(list(place.values()), [str(k) for k in place])
    axis.set(xlabel="labels a class", ylabel="accuracy, %", title=table, xlim=(-0.3, len(shots) + 0.2))
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8)


def _curve(axis: Axes, x: Sequence[int], points: Sequence[Interval], colour: str, line: str) -> None:
    axis.plot(x, [100 * point.value for point in points], line, color=colour, marker="o", markersize=3.5)
    low, high = ([100 * point[end] for point in points] for end in (1, 2))
    axis.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)


def _star(axis: Axes, star: Interval, colour: str) -> str:
    """Accuracy without a label, its interval, and how far it reaches."""
    value, low, high = (100 * number for number in star)
    axis.plot([0, 0], [low, high], color=colour, linewidth=1.4)
    axis.plot(0, value, "*", color=colour, markersize=12)
    axis.axhline(value, color=colour, linewidth=0.7, linestyle=(0, (1, 3)))
    return "*"


def _said(one: Curves) -> str:
    """How many labels a class zero-shot is worth, in words."""
    curve = one.methods.get("probe")
    if one.star is None or one.worth is None or curve is None:
        return ""
    fewest, most = min(curve), max(curve)
    if one.star.value < curve[fewest].value:
        return f": zero-shot is worth less than {fewest}"
    if one.star.value > max(point.value for point in curve.values()):
        return f": zero-shot is worth more than {most}"
    return f": zero-shot is worth {one.worth:.2g}"
