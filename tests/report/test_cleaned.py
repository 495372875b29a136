"""The page of a cleaned table: whole, offline, escaped, and honest about what is missing."""

from html.parser import HTMLParser

import pytest

from limner.errors import DataError
from limner.report.cleaned import write_cleaned
from limner.suite.cleaned import read_cleaned
from limner.suite.cleaned_report import cleaned_report

VOID = {"meta", "link", "img", "br", "path", "use"}


class Reader(HTMLParser):
    """Collects ids and links, and checks that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, str, str | None]] = []
        self.words = ""

    def handle_starttag(self, tag, attrs):
        self.found += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def page(make_cleaned, tmp_path, **options):
    table = make_cleaned(**options)
    text = write_cleaned(tmp_path / "page.html", table, cleaned_report(read_cleaned(table))).read_text()
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return text, reader


def test_the_page_stands_alone(make_cleaned, tmp_path):
    truth = [["clean", "junk"][: 1 + number % 2] for number in range(24)]
    text, reader = page(make_cleaned, tmp_path, truth=truth)
    ids = {value for _, name, value in reader.found if name == "id"}
    links = [value for tag, name, value in reader.found if tag == "a" and name == "href"]
    assert {link.removeprefix("#") for link in links} <= ids
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text
    assert "&lt;cat&gt;" in text
    for shown in (
        "Nucleus against beam",
        "Against truth",
        "ITM likes it",
        "Replaced, but only just",
        "picture: truncated",
    ):
        assert shown in reader.words
    assert "cannot be opened" not in reader.words
    assert list(tmp_path.glob("*.html")) == [tmp_path / "page.html"]


def test_a_missing_section_says_what_to_type(make_cleaned, tmp_path):
    _, reader = page(make_cleaned, tmp_path, two=False)
    for typed in ("--decoding both", "--by random", "--records FOLDER/records.jsonl"):
        assert typed in reader.words


def test_a_page_without_a_place_is_refused(make_cleaned, tmp_path):
    table = make_cleaned()
    report = cleaned_report(read_cleaned(table))
    with pytest.raises(DataError, match="has no folder"):
        write_cleaned(tmp_path / "none" / "page.html", table, report)
    with pytest.raises(DataError, match="is a folder"):
        write_cleaned(tmp_path, table, report)
