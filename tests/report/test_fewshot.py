"""The picture has a panel a table and a line a method, where the numbers of the records are."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from limner.report import fewshot
from limner.report.figures import LIGHT


def record(model: str, table: str, star: bool) -> dict:
    measure = {"value": 0.5, "low": 0.4, "high": 0.6}
    measures = {f"probe_{k}": {**measure, "value": 0.3 + k / 20} for k in (1, 4)}
    if star:
        measures |= {"zero_shot": measure, "effective_shots": {"value": 2.5}}
    return {
        "model": model,
        "table": table,
        "measures": measures,
        "details": {"curves": {"probe": {"1": [0.3], "4": [0.5]}}},
    }


def test_curves_are_the_measures_of_a_record():
    found = fewshot.curves_of(record("runs/a", "data/cats.lance", star=True))
    assert (found.model, found.table, found.worth) == ("a", "cats", 2.5)
    assert {k: point.value for k, point in found.methods["probe"].items()} == {1: 0.35, 4: 0.5}
    assert found.star == (0.5, 0.4, 0.6)
    plain = fewshot.curves_of(record("b", "cats.lance", star=False))
    assert (plain.star, plain.worth) == (None, None)


@pytest.fixture
def kept(monkeypatch):
    """The figure as it was saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))[1]
    )
    return figures


def test_a_panel_a_table_a_colour_a_model_a_star_at_no_label(tmp_path, kept):
    records = [record("a", "cats.lance", True), record("b", "cats.lance", False), record("a", "dogs", True)]
    out = fewshot.write_fewshot(tmp_path / "new" / "fewshot.png", records)
    with Image.open(out) as picture:
        assert np.asarray(picture).std() > 0
    cats, dogs = kept[0].axes
    assert (cats.get_title(), dogs.get_title()) == ("cats", "dogs")
    assert [tick.get_text() for tick in cats.get_xticklabels()] == ["0", "1", "4"]
    curves = [line for line in cats.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [line.get_color() for line in curves] == [LIGHT["blue"], LIGHT["orange"]]
    np.testing.assert_allclose(curves[0].get_xydata(), [[1, 35], [2, 50]])
    (star,) = [line for line in cats.lines if line.get_marker() == "*" and len(line.get_xdata())]
    np.testing.assert_allclose(star.get_xydata(), [[0, 50]])
    said = [text.get_text() for text in cats.get_legend().get_texts()]
    assert said == ["a: zero-shot is worth 2.5", "b", "probe"]


@pytest.mark.parametrize(("star", "words"), [(0.1, "less than 1"), (0.9, "more than 4")])
def test_a_star_outside_the_curve_says_so(tmp_path, kept, star, words):
    told = record("runs/clip/model", "cats.lance", star=True)
    told["measures"]["zero_shot"] = {"value": star}
    fewshot.write_fewshot(tmp_path / "fewshot.png", [told])
    said = kept[0].axes[0].get_legend().get_texts()[0].get_text()
    assert said == f"clip: zero-shot is worth {words}"
