from pathlib import Path

import pytest
from pydantic import BaseModel

from limner.config import build, to_toml
from limner.errors import ConfigError
from limner.recipe import Recipe, read

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
SCENES = {"data": {"sources": [{"kind": "scenes", "count": 100, "start": 50}]}, "train": {"steps": 5}}


def sections(schema):
    """Every config class a recipe is made of."""
    for field in schema.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield part
                yield from sections(part)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_read_alone_and_headed(path):
    recipe = read(path)
    assert build(recipe.model_dump(mode="json"), Recipe, "x") == recipe
    head = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    for words in (f"limner train recipes/{path.name}", "expected:", "wall time:", "last run:", "arXiv"):
        assert words in head


def test_a_written_recipe_reads_back_with_its_digest(make_recipe, tmp_path):
    recipe = make_recipe("optim.lr=2e-3")
    (tmp_path / "again.toml").write_text(to_toml(recipe))
    again = read(tmp_path / "again.toml")
    assert again == recipe
    assert again.digest == recipe.digest


def test_the_machine_is_no_part_of_the_digest(make_recipe):
    assert make_recipe("machine.workers=3", "machine.max_minutes=1").digest == make_recipe().digest
    assert make_recipe("train.steps=4").digest != make_recipe().digest


def test_a_queue_must_hold_whole_batches(make_recipe):
    with pytest.raises(ConfigError, match=r"queue_size 10 is no multiple of train\.batch_size 4"):
        make_recipe("objective.queue_size=10")
    make_recipe("objective.queue_size=10", 'objective.teacher="none"')


def test_a_start_keeps_its_sizes(make_recipe):
    with pytest.raises(ConfigError, match="settings must be empty"):
        make_recipe('model.start="limner_tiny"')


@pytest.mark.parametrize(
    ("evaluate", "allowed"),
    [
        ({"scenes": {"seed": 0}, "start": 0, "count": 50}, True),
        ({"scenes": {"seed": 0}, "start": 0, "count": 51}, False),
        ({"scenes": {"seed": 0}, "start": 149, "count": 1}, False),
        ({"scenes": {"seed": 0}, "start": 150, "count": 1}, True),
        ({"scenes": {"seed": 0}, "start": 60, "count": 0}, True),
        ({"scenes": {"seed": 7}, "start": 60, "count": 10}, True),
    ],
)
def test_measuring_on_trained_scenes_is_refused(evaluate, allowed):
    values = SCENES | {"evaluate": evaluate}
    if allowed:
        build(values, Recipe, "x")
    else:
        with pytest.raises(ConfigError, match="scenes of seed 0 that are trained on"):
            build(values, Recipe, "x")


def test_unknown_keys_are_refused(make_recipe):
    with pytest.raises(ConfigError, match=r"optim\.learning_rate: Extra inputs"):
        make_recipe("optim.learning_rate=1")


SECTIONS = sorted({Recipe, *sections(Recipe)}, key=lambda section: section.__name__)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_field_is_documented(section):
    documented = {line.strip().partition(":")[0] for line in section.__doc__.splitlines()}
    assert section.model_fields.keys() - documented == set()
