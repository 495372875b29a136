import json

import pytest

from limner.data.table import Table


@pytest.fixture
def table(limner, photos, tmp_path):
    path = tmp_path / "pairs.lance"
    assert limner("import", photos, "--out", path, "--max-bad", 1).exit_code == 0
    return path


def test_a_table_is_searched_and_keeps_its_vectors(limner, table):
    before = Table.open(table).version
    hits = json.loads(limner("search", "a red ball", "--data", table, "-k", 3, "--json").stdout)
    assert len(hits) == 3
    assert {hit["key"] for hit in hits} <= {f"p{i}.png" for i in range(4)}
    assert all(hit["matched"] is not None for hit in hits)
    embedded = Table.open(table).version
    assert embedded > before
    limner("search", "two fish", "--data", table)
    assert Table.open(table).version == embedded


def test_without_a_second_look_the_order_is_by_cosine(limner, table):
    hits = json.loads(limner("search", "an owl", "--data", table, "--no-rerank", "--json").stdout)
    cosines = [hit["cosine"] for hit in hits]
    assert cosines == sorted(cosines, reverse=True)
    assert [hit["matched"] for hit in hits] == [None] * 4


def test_a_folder_is_imported_once_and_again_when_it_changes(limner, photos):
    first = limner("search", "an owl", "--data", photos)
    assert first.exit_code == 0
    assert "import …" in first.stderr
    assert "1 truncated" in first.stderr
    assert "import …" not in limner("search", "an owl", "--data", photos).stderr
    (photos / "p9.png").write_bytes((photos / "p1.png").read_bytes())
    changed = limner("search", "an owl", "--data", photos, "-k", 9)
    assert "import …" in changed.stderr
    assert str(photos / "p9.png") in changed.stdout


def test_lines_name_the_file_and_its_text(limner, photos):
    lines = limner("search", "a red ball", "--data", photos).stdout.splitlines()
    assert len(lines) == 4
    (captioned,) = [line for line in lines if "p1.png" in line]
    assert captioned.endswith(f"{photos / 'p1.png'}  a red ball on a blue ground")


def test_an_empty_search_and_a_missing_table_are_refused(limner, table, tmp_path):
    assert "an empty search" in limner("search", " ", "--data", table).stderr
    missing = limner("search", "an owl", "--data", tmp_path / "none.lance")
    assert missing.exit_code == 2
    assert "does not exist" in missing.stderr
