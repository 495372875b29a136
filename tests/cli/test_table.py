import json

import pytest
from PIL import Image

from limner.data.importing import ImportOptions, import_source
from limner.data.table import Table


@pytest.fixture
def pairs(photos, tmp_path):
    out = tmp_path / "pairs.lance"
    import_source(photos, out, ImportOptions(max_bad=0.5))
    return out


@pytest.fixture
def shorter(pairs):
    Table.open(pairs).delete(["p0.png"], "without one", {"why": "a test"})
    return pairs


def test_a_table_is_shown(limner, shorter):
    result = limner("table", shorter)
    assert result.exit_code == 0
    assert f"{shorter}: version 2, 3 rows, 1 texts" in result.stdout
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert any(line.startswith("texts list<item: string> 1 (33%)") for line in lines)
    assert any(line.startswith("format: PNG 3") for line in lines)
    assert any(line.startswith("* 2 ") and 'without one {"why": "a test"}' in line for line in lines)
    assert any(line.startswith("1 ") and "import" in line for line in lines)
    assert "p1.png 64x48 PNG 'a red ball on a blue ground'" in lines
    assert not any(line.startswith("p0.png") for line in lines)


def test_json_holds_the_same(limner, shorter):
    told = json.loads(limner("table", shorter, "--json", "--where", "key > 'p1.png'").stdout)
    assert (told["version"], told["rows"], told["matched"]) == (2, 3, 2)
    assert [row["key"] for row in told["samples"]] == ["p2.png", "p3.png"]
    assert told["versions"][0]["record"]["verb"] == "import"
    older = json.loads(limner("table", shorter, "--json", "--version", 1).stdout)
    assert (older["version"], older["rows"]) == (1, 4)


def test_back_and_back_again(limner, shorter):
    result = limner("table", shorter, "--restore", 1)
    assert "version 3 is as version 1 was, 4 rows" in result.stdout
    assert f"undo: limner table {shorter} --restore 2" in result.stderr
    told = json.loads(limner("table", shorter, "--restore", 2, "--json").stdout)
    assert (told["restored"], told["version"], told["before"], told["rows"]) == (2, 4, 3, 3)
    assert Table.open(shorter).column("key") == ["p1.png", "p2.png", "p3.png"]


def test_compact_keeps_rows_and_the_versions_asked_for(limner, shorter):
    before = Table.open(shorter).column("image")
    result = limner("table", shorter, "--compact")
    assert "files became 1" in result.stdout
    assert "--keep-versions 1" in result.stderr
    assert Table.open(shorter, 1).num_rows == 4
    told = json.loads(limner("table", shorter, "--compact", "--keep-versions", 1, "--json").stdout)
    assert told["versions_removed"] >= 2
    assert told["bytes_freed"] > 0
    assert len(Table.open(shorter).versions()) == 1
    assert Table.open(shorter).column("image") == before
    again = limner("table", shorter, "--restore", 1)
    assert again.exit_code == 2
    assert "one of versions" in again.stderr


def test_a_sheet_of_augmented_samples_is_drawn(limner, pairs, tmp_path):
    out = tmp_path / "more" / "sheet.png"
    command = ("table", pairs, "--augment", "clip", "--size", 32, "--out", out, "--where", "key < 'p3.png'")
    told = json.loads(limner(*command, "--json").stdout)
    assert told["keys"] == ["p0.png", "p1.png", "p2.png"]
    with Image.open(out) as sheet:
        assert sheet.size == (7 * 36 + 4, 3 * 36 + 4)
    first = out.read_bytes()
    assert limner(*command).exit_code == 0
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--version", 9), "one of versions [1]"),
        (("--restore", 9), "one of versions [1]"),
        (("--restore", 0), "--restore"),
        (("--where", "size > 3"), "SQL over key"),
        (("--where", "width >"), "SQL over key"),
        (("--restore", 1, "--compact"), "give one"),
        (("--compact", "--where", "width > 3"), "the whole table"),
        (("--keep-versions", 1), "goes with --compact"),
        (("--augment", "clipp"), 'augment = "clip"'),
        (("--augment", "clip", "--out", "sheet.txt"), ".png"),
        (("--augment", "clip", "--where", "width > 3000"), "no row"),
    ],
)
def test_wrong_options_say_what_is_right(limner, pairs, options, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = limner("table", pairs, *options)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert Table.open(pairs).version == 1
    assert not list(tmp_path.glob("*.png"))


def test_what_is_no_table_is_refused(limner, photos, tmp_path):
    for place, said in [(photos, "is not a limner table"), (tmp_path / "none", "does not exist")]:
        result = limner("table", place)
        assert result.exit_code == 2
        assert said in result.stderr


def test_statements_about_two_pictures_are_added(limner, tmp_path):
    for side in (0, 1):
        (tmp_path / "dev").mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), ("red", "blue")[side]).save(tmp_path / "dev" / f"dev-1-0-img{side}.png")
    table, lines = tmp_path / "t.lance", tmp_path / "dev.json"
    assert limner("import", tmp_path / "dev", "--out", table).exit_code == 0
    lines.write_text(json.dumps({"identifier": "dev-1-0-1", "sentence": "one is red", "label": "True"}))
    done = limner("table", table, "--statements", lines)
    assert "version 2, 1 statements about two pictures" in done.stdout
    assert "--restore 1" in done.stderr
    (first, _) = Table.open(table).column("statements")
    assert [one["text"] for one in first] == ["one is red"]
    told = json.loads(limner("table", table, "--statements", lines, "--json").stdout)
    assert (told["version"], told["statements"]) == (3, 1)
    refused = limner("table", table, "--statements", lines, "--where", "true")
    assert "change the whole table" in refused.stderr
