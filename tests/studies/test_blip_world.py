from collections import Counter

import pytest

from limner.data.scene_language import Scenery, is_exact, nouns_in
from limner.data.table import Table
from limner.studies.blip_world import World, WorldSettings, has_version, make_world

SETTINGS = WorldSettings(web=20, clean=8, test=8, swapped=0.3, junk=0.1)


@pytest.fixture(scope="module")
def made(_cache_folder, tmp_path_factory):
    world = World.under(tmp_path_factory.mktemp("world"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_CACHE", str(_cache_folder))
        return world, make_world(world, SETTINGS, 1)


def test_web_pairs_have_the_noise_that_was_asked(made):
    web = Table.open(made[0].web)
    truth = Counter(word for row in web.column("truth") for word in row)
    assert truth == {"clean": 12, "swapped": 6, "junk": 2}


def test_clean_tables_are_clean_and_hold_other_pictures(made):
    world, _ = made
    for path in (world.clean, world.test):
        rows = [row for batch in Table.open(path).batches() for row in batch]
        assert all(is_exact(text, Scenery.from_row(row)) for row in rows for text in row["texts"])
    pictures = [set(Table.open(path).column("sha256")) for path in world]
    assert not pictures[0] & pictures[1] | pictures[0] & pictures[2] | pictures[1] & pictures[2]


def test_the_world_is_as_small_as_it_says(made):
    named = {
        noun for row in Table.open(made[0].web).column("texts") for text in row for noun in nouns_in(text)
    }
    assert named <= set(SETTINGS.concepts)


def test_facts_name_what_was_made(made, tmp_path):
    world, facts = made
    assert facts["versions"] == {name: Table.open(path).version for name, path in world._asdict().items()}
    again = make_world(World.under(tmp_path), SETTINGS, 1)
    assert again["fingerprints"] == facts["fingerprints"]
    other = make_world(World.under(tmp_path), SETTINGS, 2)
    assert not set(other["fingerprints"].values()) & set(facts["fingerprints"].values())


def test_a_version_that_is_not_there(made, tmp_path):
    web = made[0].web
    assert has_version(web, 1)
    assert not has_version(web, 1, "no_such_column")
    assert not has_version(web, 99)
    assert not has_version(tmp_path / "nowhere.lance", 1)
