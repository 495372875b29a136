"""Pictures for pages."""

import runpy
from pathlib import Path

from limner.suite.pictures import pictures_of

make_table = runpy.run_path(str(Path(__file__).with_name("test_human.py")))["make_table"]


def test_pictures_come_by_key_and_what_is_gone_is_left_out(tmp_path: Path):
    table = str(make_table(tmp_path / "t.lance"))
    places = [(table, "cat1"), (table, "dog0#3"), (table, "cow"), (str(tmp_path / "gone.lance"), "cat1")]
    found = pictures_of(places, {table: 1})
    assert set(found) == {(table, "cat1"), (table, "dog0#3")}
    assert found[table, "cat1"][:4] == b"\x89PNG"
    assert found[table, "cat1"] != found[table, "dog0#3"]
