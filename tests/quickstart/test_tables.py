import shutil

import pyarrow as pa
import pytest

from limner.data.table import Table
from limner.quickstart.tables import fingerprint, make_tables, tables_stand, with_truth_of_synthetic

NAMES = ("emoji", "scenes", "heldout")


@pytest.fixture(scope="module")
def made(few_emoji, listener, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    paths = {name: folder / f"{name}.lance" for name in NAMES}
    return paths, make_tables(paths, 0, 40, 20, listener())


def test_noise_is_counted_from_the_table(made):
    paths, facts = made
    assert facts["noise"] == {"clean": 26, "swapped": 12, "junk": 2}
    assert Table.open(paths["scenes"]).version == facts["version"]


def test_held_out_pictures_are_no_pictures_of_the_noisy_table(made):
    paths, _ = made
    held_out, noisy = (Table.open(paths[name]).column("sha256") for name in ("heldout", "scenes"))
    assert not set(held_out) & set(noisy)
    assert not Table.open(paths["heldout"]).has("truth")


def test_the_same_seed_makes_the_same_tables(made, few_emoji, listener, tmp_path):
    _, facts = made
    paths = {name: tmp_path / f"{name}.lance" for name in NAMES}
    assert make_tables(paths, 0, 40, 20, listener()) == facts
    other = make_tables(paths, 1, 40, 20, listener())
    assert other["fingerprints"]["scenes"] != facts["fingerprints"]["scenes"]


def test_tables_stand_until_one_is_gone_or_changed(made, tmp_path):
    paths, facts = made
    copies = {name: shutil.copytree(path, tmp_path / path.name) for name, path in paths.items()}
    assert tables_stand(copies, facts)
    shutil.rmtree(copies["heldout"])
    assert not tables_stand(copies, facts)
    shutil.copytree(paths["scenes"], copies["heldout"])
    assert not tables_stand(copies, facts)


def test_columns_that_are_added_leave_the_fingerprint_and_the_truth_is_added_once(made, tmp_path):
    paths, facts = made
    table = Table.open(shutil.copytree(paths["scenes"], tmp_path / "scenes.lance"))
    right = [row["texts"] for row in Table.open(paths["scenes"]).rows(range(40), ["texts"])]
    table = table.add_columns(pa.table({"synthetic": pa.array(right, pa.list_(pa.string()))}), "synthetic")
    told = with_truth_of_synthetic(table)
    expected = [["clean" if truth == ["clean"] else "wrong"] for truth in table.column("truth")]
    assert told.column("truth_synthetic") == expected
    assert with_truth_of_synthetic(told).version == told.version
    assert fingerprint(told) == facts["fingerprints"]["scenes"]
