"""Numbers as people read them, and values that cannot break out of a page."""

import pytest
from jinja2 import UndefinedError

from limner.report import rendering


def test_numbers_are_written_for_people():
    assert rendering.count(1234567) == "1,234,567"
    assert rendering.share(0.1234) == "12.3 %"
    assert rendering.share(None) == rendering.number(None) == "–"
    assert rendering.number(0.5) == "0.500"
    assert rendering.number("nan") == "nan"
    assert rendering.signed(-0.5) == "−0.500"
    assert rendering.reason("junk:file_name") == "junk: file name"
    assert rendering.measure("cider_d") == "CIDEr-D"


def test_values_are_escaped_and_missing_ones_are_errors(monkeypatch, tmp_path):
    (tmp_path / "style.css").write_text("p > a { color: red; }")
    (tmp_path / "small.jinja").write_text("<style>{{ style }}</style>{{ title }}")
    monkeypatch.setattr(rendering, "_HERE", tmp_path)
    page = rendering.rendered("small.jinja", title="<script>")
    assert page == "<style>p > a { color: red; }</style>&lt;script&gt;"
    with pytest.raises(UndefinedError):
        rendering.rendered("small.jinja")


def test_a_page_appears_whole_in_the_place_of_an_older_one(tmp_path):
    (tmp_path / "page.html").write_text("old")
    assert rendering.write_whole(tmp_path / "page.html", "nëw") == tmp_path / "page.html"
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "nëw"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
