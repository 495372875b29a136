"""Statements: what a table says of pairs of pictures, and how NLVR2's files come in."""

import json

import pyarrow as pa
import pytest

from limner.data.scene_table import build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.statements import Stated, add_statements, stated
from limner.data.table import SCHEMA, Table
from limner.errors import DataError

KEYS = ("dev/dev-1-0-img0.png", "dev/dev-1-0-img1.png", "dev/dev-2-0-img0.png")


def make(path, keys=KEYS, **columns):
    rows = [
        {"key": key, "image": b"x", **{k: v[i] for k, v in columns.items()}} for i, key in enumerate(keys)
    ]
    return Table.write(path, [pa.RecordBatch.from_pylist(rows, SCHEMA)], SCHEMA)


def test_scene_tables_name_the_other_picture_by_its_key(tmp_path):
    table = build_scenes_table(tmp_path / "s.lance", SceneSettings(seed=3, canvas_px=64), 0, 4)
    keys, found = table.column("key"), stated(table)
    assert len(found) == 8
    for row, statements in enumerate(table.column("statements")):
        for number, one in enumerate(statements):
            expected = Stated(
                row, keys.index(one["other_key"]), f"{keys[row]}#{number}", one["text"], one["truth"]
            )
            assert found[2 * row + number] == expected
    some = stated(table, f"key = '{keys[2]}'")
    assert some == found[4:6]


def test_labels_true_and_false_make_statements_about_one_picture(tmp_path):
    texts = [["a box is red", "two boxes"], ["a dot"], ["not a statement"]]
    table = make(tmp_path / "t.lance", texts=texts, label=["True", "false", "cat"])
    assert stated(table) == [
        Stated(0, 0, f"{KEYS[0]}#0", "a box is red", True),
        Stated(0, 0, f"{KEYS[0]}#1", "two boxes", True),
        Stated(1, 1, f"{KEYS[1]}#0", "a dot", False),
    ]
    with pytest.raises(DataError, match="holds no statement where label = 'cat'"):
        stated(table, "label = 'cat'")


@pytest.mark.parametrize("form", ["blip", "nlvr2"])
def test_files_of_statements_become_a_column(tmp_path, form):
    table = make(tmp_path / "t.lance")
    line = {"sentence": "a dog on the left", "label": "True"}
    if form == "blip":
        images = ["dev/dev-1-0-img0.png", "dev/dev-1-0-img1.png"]
        (tmp_path / "s.json").write_text(json.dumps([{**line, "images": images}]))
    else:
        line["identifier"] = "dev-1-0-1"
        (tmp_path / "s.json").write_text(json.dumps(line) + "\n" + json.dumps({**line, "label": "False"}))
    made = add_statements(table, tmp_path / "s.json")
    found = stated(Table.open(tmp_path / "t.lance"))
    assert made.version == table.version + 1
    assert found[0] == Stated(0, 1, f"{KEYS[0]}#0", "a dog on the left", True)
    assert [one.truth for one in found] == ([True] if form == "blip" else [True, False])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sentence": "x", "label": "True"}', "no statement about two pictures"),
        ('{"sentence": "x", "label": "maybe", "identifier": "dev-1-0-1"}', "no statement about two"),
        ('{"sentence": "x", "label": "True", "identifier": "dev-9-0-1"}', "names the picture 'dev-9-0-img0'"),
        ("{", "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path, line, message):
    table = make(tmp_path / "t.lance")
    (tmp_path / "s.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        add_statements(table, tmp_path / "s.jsonl")
    assert Table.open(tmp_path / "t.lance").version == table.version


def test_a_statement_about_a_picture_that_is_not_there_is_refused(tmp_path):
    table = make(tmp_path / "t.lance")
    column = pa.array([[{"other_key": "gone", "text": "x", "truth": True}], None, None])
    table = table.add_columns(pa.table({"key": list(KEYS), "statements": column}), "test")
    with pytest.raises(DataError, match="a statement about 'gone'"):
        stated(table)
