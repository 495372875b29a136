import pyarrow as pa
import pytest

from limner.capfilt.labels import read_labels
from limner.data.table import Table
from limner.studies.blip_cleaning import CAPTIONED, with_captioned, write_labels
from limner.studies.blip_world import World, WorldSettings, make_world, pairs_in


@pytest.fixture(scope="module")
def table(_cache_folder, tmp_path_factory):
    world = World.under(tmp_path_factory.mktemp("world"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_CACHE", str(_cache_folder))
        make_world(world, WorldSettings(web=20, clean=8, test=8, swapped=0.3, junk=0.1), 1)
    return Table.open(world.web)


def test_captioned_texts_are_web_and_synthetic_each_once(table):
    web = table.column("texts")
    synthetic = [[row[0] if number % 2 else f"text {number}"] for number, row in enumerate(web)]
    column = pa.table({"synthetic": pa.array(synthetic, pa.list_(pa.string()))})
    captioned = with_captioned(table.add_columns(column, "test"))
    expected = []
    for mine, new in zip(web, synthetic, strict=True):
        texts = []
        for text in mine + new:
            if text not in texts:
                texts.append(text)
        expected.append(texts)
    assert captioned.column(CAPTIONED) == expected
    assert pairs_in(captioned, CAPTIONED) == sum(bool(t.strip()) for texts in expected for t in texts)


def test_labels_say_the_truth_of_the_first_texts(table, tmp_path):
    labels = read_labels(table, str(write_labels(table, 9, tmp_path / "labels.csv")))
    rows = list(zip(table.column("key"), table.column("texts"), table.column("truth"), strict=True))[:9]
    expected = {
        (key, text): word == "clean"
        for key, texts, words in rows
        for text, word in zip(texts, words, strict=True)
    }
    assert labels == expected
    assert {*expected.values()} == {True, False}
