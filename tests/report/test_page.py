import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from limner.errors import DataError
from limner.record import Recorder, read_records
from limner.report.page import Records, build_page, write_page

VOID = {"meta", "link", "img", "br", "path", "use"}


class Reader(HTMLParser):
    """Collects attributes and checks that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def values(self, name: str) -> list[str]:
        return [value or "" for _, known, value in self.attributes if known == name]


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_page_is_whole_and_reads_offline(run):
    page = build_page(run)
    reader = read(page)
    links = [value for name in ("src", "href") for value in reader.values(name)]
    assert all(value.startswith(("#", "data:")) for value in links)
    assert not re.search(r"https?://|@import|<script", page)


def test_every_link_has_its_place_and_ids_are_unique(run):
    reader = read(build_page(run))
    ids = reader.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in reader.values("href") if value.startswith("#")} <= set(ids)


def test_every_picture_has_words_for_it(run):
    reader = read(build_page(run))
    pictures = sum(tag == "img" and name == "src" for tag, name, _ in reader.attributes)
    assert (
        pictures
        == sum(tag == "img" and name == "alt" and bool(value) for tag, name, value in reader.attributes)
        > 10
    )


def test_texts_of_the_table_are_never_markup(run):
    page = build_page(run)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; bear" in page


def test_numbers_come_from_the_records(run):
    words = " ".join(" ".join(read(build_page(run)).words).split())
    for shown in ("0.991", "45.8 % → 91.7 %", "within noise", "125 seconds of work", "1.25 GB"):
        assert shown in words
    assert "rows of 24; 1 dropped" in words
    assert "unmatched 12 · junk: placeholder 1" in words


def test_headline_numbers_name_their_record(run):
    page = build_page(run)
    line = next(i for i, r in enumerate(read_records(run / "records.jsonl"), 1) if r["kind"] == "audit")
    assert f'<a href="#r{line}">record {line}</a>' in page
    shown = re.search(rf'<li id="r{line}"><b>{line}</b>(.*?)</li>', page)
    assert shown is not None
    assert json.loads(shown[1].replace("&#34;", '"'))["auroc_swapped"] == 0.991


def test_the_last_record_of_a_kind_counts(run):
    Recorder(run / "records.jsonl").write(
        "stage", name="training", title="Training", seconds=0.0, peak_rss_gb=0, reused=True
    )
    words = " ".join(read(build_page(run)).words)
    assert "reused: Training" in words
    assert "125 seconds of work" in words


def test_web_texts_may_stand_in_another_column(run, table):
    texts = pa.table({"alt": table.column("texts"), "texts": [[]] * 24})
    table.add_columns(texts, "the web texts are called alt")
    record = Records(read_records(run / "records.jsonl")).last("capfilt")
    settings = {"threshold": 0.5, "texts_column": "alt"}
    Recorder(run / "records.jsonl").write("capfilt", settings=settings, ledger=record["ledger"])
    assert "two owls and 0 cats" in build_page(run, None)


def test_a_training_run_has_a_page_too(tmp_path):
    recorder = Recorder(tmp_path / "records.jsonl")
    for step in (10, 20):
        recorder.write("train", step=step, loss=1 / step, terms={"itc": 1.0, "lm": 2.0})
        recorder.write(
            "evaluate", step=step, evaluator="scenes", measures={"scenes/auroc": step / 100}, seconds=1
        )
    page = build_page(tmp_path)
    assert "Training curve of scenes/auroc" in page
    assert "0.200" in page
    assert "Picture by picture" not in page


def test_a_moved_run_still_finds_its_table(run, tmp_path):
    moved = tmp_path / "elsewhere"
    run.rename(moved)
    assert "Caught and repaired" in build_page(moved)


def test_a_lost_table_is_named(run):
    shutil.rmtree(run / "tables")
    with pytest.raises(DataError, match=r"(?s)scenes\.lance.*--table TABLE"):
        build_page(run)


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(DataError, match="no records"):
        build_page(tmp_path)
    (tmp_path / "records.jsonl").touch()
    with pytest.raises(DataError, match="is empty"):
        build_page(tmp_path)


def test_the_page_is_written_whole_without_torch(run):
    code = (
        "import sys; from limner.report.page import write_page; write_page(sys.argv[1]);"
        "assert not {'torch', 'torchvision', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(run)], check=True)
    page = run / "report.html"
    before = page.read_text(encoding="utf-8")
    assert before.rstrip().endswith("</html>")
    assert write_page(run) == page
    assert page.read_text(encoding="utf-8") == before
    assert [p.name for p in run.iterdir() if p.name.startswith(".")] == []
