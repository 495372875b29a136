"""The paper's two fine-tunings, laid over another table and another start."""

from pathlib import Path

import pyarrow as pa
import pytest

from limner.checkpoint import Bundle, load
from limner.data.scene_table import build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.table import Table
from limner.errors import ConfigError, DataError
from limner.recipe import Recipe, read
from limner.recipe.tuning import Clean, Part, clean_pairs, tuned

RECIPES = Path(__file__).parents[2] / "recipes"
PAPER = {
    "captioner": read(RECIPES / "blip_base_coco_captioning.toml"),
    "filter": read(RECIPES / "blip_base_coco_retrieval.toml"),
}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load("limner_tiny")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return build_scenes_table(tmp_path_factory.mktemp("tune") / "scenes.lance", SceneSettings(seed=5), 0, 40)


def made(part: Part, bundle: Bundle, clean: Clean, *overrides: str) -> Recipe:
    return tuned(part, PAPER[part], "limner_tiny", bundle, clean, seed=3, overrides=overrides)


def test_a_clean_table_is_learnt_from_its_train_rows(table: Table) -> None:
    clean = clean_pairs(table)
    splits = table.column("split")
    texts = zip(splits, table.column("texts"), strict=True)
    if {"train", "val"} <= set(splits):
        assert (clean.where, clean.held_out) == ("split = 'train'", "split = 'val'")
        assert clean.pairs == sum(len(found) for split, found in texts if split == "train")
    else:
        assert clean.pairs == sum(len(found) for _, found in texts)


def test_labels_of_rows_that_are_not_learnt_from_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    made = build_scenes_table(tmp_path / "scenes.lance", SceneSettings(seed=5), 0, 40)
    splits = pa.array(["train"] * 5 + ["val"] * 20 + ["test"] * 15)
    divided = made.add_columns(pa.table({"split": splits}), "divided")
    told = [len(row) for row in divided.column("texts")]
    divided = divided.add_columns(pa.table({"good": pa.array([True] + [None] * 4 + [True] * 35)}), "labels")
    said = f"{told[0]} pairs to tune on in 'good' .*, and {sum(told[5:])} in rows that are not of the split"
    version = Table.open(divided.path).version
    with pytest.raises(DataError, match=said):
        clean_pairs(Table.open(divided.path), labels="good")
    assert Table.open(divided.path).version == version


@pytest.mark.parametrize(("part", "epochs"), [("captioner", 5), ("filter", 6)])
def test_the_papers_settings_hold(table: Table, bundle: Bundle, part: Part, epochs: int) -> None:
    clean = Clean(table, "texts", 566_747, "", "")
    recipe = made(part, bundle, clean)
    paper = PAPER[part]
    assert recipe.train.steps == epochs * 2214  # of 2,213.9 batches the last is smaller
    assert (recipe.train.batch_size, recipe.train.seed) == (256, 3)
    assert recipe.optim == paper.optim.model_copy(update={"stair_steps": 2214})
    assert recipe.objective.model_copy(update={"queue_size": 0, "alpha_steps": 0}) == (
        paper.objective.model_copy(update={"queue_size": 0, "alpha_steps": 0})
        if part == "filter"
        else paper.objective.model_copy(update={"alpha_steps": 0, "prompt": recipe.objective.prompt})
    )


def test_a_few_hundred_pairs_are_learnt_in_small_batches(table: Table, bundle: Bundle) -> None:
    recipe = made("filter", bundle, Clean(table, "texts", 500, "", ""))
    assert (recipe.train.batch_size, recipe.optim.stair_steps, recipe.train.steps) == (25, 20, 120)
    assert recipe.objective.queue_size == 500
    assert recipe.train.best == ""
    held_out = made("filter", bundle, Clean(table, "texts", 500, "split = 'train'", "split = 'val'"))
    assert held_out.train.best == "val/r_mean"
    assert held_out.evaluate.tables[0].where == "split = 'val'"
    assert held_out.data.sources[0].where == "split = 'train'"


def test_what_is_set_has_the_last_word(table: Table, bundle: Bundle) -> None:
    clean = Clean(table, "texts", 500, "", "")
    assert made("captioner", bundle, clean, "optim.lr=3e-4").optim.lr == 3e-4
    with pytest.raises(ConfigError):
        made("captioner", bundle, clean, "optim.colour=1")
