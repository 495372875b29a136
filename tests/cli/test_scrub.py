"""`limner scrub` writes a page and says what it found."""

import json

import pytest


@pytest.fixture
def pairs(limner, photos, tmp_path):
    table = tmp_path / "pairs.lance"
    assert limner("import", photos, "--out", table, "--max-bad", "1").exit_code == 0
    return table


def test_a_page_is_written_beside_the_table(limner, pairs):
    result = limner("scrub", pairs)
    assert result.exit_code == 0
    page = pairs.with_name("pairs.scrub.html")
    assert f"page: {page}" in result.stdout
    assert page.read_text().startswith("<!doctype html>")


def test_json_gives_what_was_found(limner, pairs, tmp_path):
    page = tmp_path / "page.html"
    result = limner("scrub", pairs, "--out", page, "--near", "4", "--where", "width > 0", "--json")
    found = json.loads(result.stdout)
    assert found["page"] == str(page)
    assert found["rows"] > 0
    assert set(found) >= {"texts", "languages", "duplicates", "leaks", "counts", "refused"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "wdith > 1"], "does not fit"),
        (["--where", "width < 0"], "no rows"),
        (["--out", "no/such/folder/page.html"], "no folder"),
    ],
)
def test_what_cannot_be_done_is_told(limner, pairs, options, message):
    result = limner("scrub", pairs, *options)
    assert result.exit_code == 2
    assert message in result.stderr
