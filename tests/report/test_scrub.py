"""The scrub page is whole, reads offline, escapes what it is given and says what to do."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from limner.data.table import Table
from limner.errors import DataError
from limner.report.scrub import bars, write_scrub
from limner.report.scrub_findings import ScrubSettings


class Reader(HTMLParser):
    """Collects attributes and words, and checks that every element is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in {"meta", "link", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def values(self, *names: str) -> list[str]:
        return [value or "" for name, value in self.attributes if name in names]


@pytest.fixture
def page(odd_table, tmp_path):
    result = write_scrub(odd_table.path, tmp_path / "page.html")
    return SimpleNamespace(text=(tmp_path / "page.html").read_text(encoding="utf-8"), result=result)


def test_page_is_whole_reads_offline_and_escapes(page):
    reader = Reader(page.text)
    links = reader.values("src", "href")
    assert all(value.startswith(("#", "data:")) for value in links)
    assert not re.search(r"https?://|@import|<script", page.text)
    assert "&lt;script&gt;alert(1)" in page.text
    assert {value[1:] for value in links if value.startswith("#")} <= set(reader.values("id"))


def test_page_shows_every_kind_of_finding(page):
    words = " ".join(" ".join(Reader(page.text).words).split())
    for part in (
        "Longest and narrowest",
        "Smallest",
        "Largest",
        "Blankest",
        "Darkest",
        "Cannot be opened",
        "the same text on 5 pictures or more",
        "French",
        "CC0",
        "JPEG breaks off",
        "broken or cut short",
        "Every picture was opened",
    ):
        assert part in words
    assert page.text.count("<svg") >= 4


def test_verdicts_come_worst_first_with_what_to_type(page):
    levels = [one.level for one in page.result.verdicts]
    assert levels == sorted(levels)
    told = " ".join(one.text for one in page.result.verdicts)
    assert "1 pictures stand in more than one split" in told
    assert "1 of 14 pictures opened cannot be" in told
    assert any("--splits" in one.advice for one in page.result.verdicts)


def test_a_sample_says_so(odd_table, tmp_path):
    write_scrub(odd_table.path, tmp_path / "page.html", ScrubSettings(sample=2, seed=3))
    page = (tmp_path / "page.html").read_text()
    assert "a sample of 2 of 14 pictures (seed 3)" in page
    assert "Of a sample of 10 texts" in page


def test_a_table_without_faults_is_told_so(tmp_path, odd_table):
    columns = ["key", "image", "width", "height", "format", "texts", "split", "licence"]
    rows = odd_table.arrow(columns, "key in ('plain', 'large')")
    rows = rows.set_column(6, "split", pa.array(["train", "train"]))
    table = Table.write(tmp_path / "good.lance", rows.to_batches(), rows.schema)
    verdicts = write_scrub(table.path, tmp_path / "page.html").verdicts
    assert [one.level for one in verdicts] == ["good"]


def test_a_place_that_is_none_is_told(odd_table, tmp_path):
    for place in (tmp_path, tmp_path / "no" / "page.html"):
        with pytest.raises(DataError, match="--out"):
            write_scrub(odd_table.path, place)
    with pytest.raises(DataError, match="does not exist"):
        write_scrub(tmp_path / "none.lance", tmp_path / "page.html")


def test_bars_gather_what_is_rare():
    shown = bars({f"v{i}": 20 - i for i in range(15)})
    assert len(shown) == 13
    assert (shown[-1].name, shown[-1].number) == ("3 others", 8 + 7 + 6)
    assert np.isclose(shown[0].length, 20 / 21) or shown[0].length <= 1


def test_no_torch_is_loaded():
    code = "import sys, limner.report.scrub; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
