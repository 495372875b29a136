import pytest

from limner.config import build
from limner.data.scene_table import build_scenes_table
from limner.data.scenes import SceneSettings
from limner.errors import ConfigError
from limner.recipe import resolve
from limner.studies.blip_recipes import ModelSizes, Source, Training, scratch, tuned

TRAINING = Training(ModelSizes(width=32), steps=40, batch_size=8, lr=2e-3, seed=3)


@pytest.fixture
def source(tmp_path):
    table = build_scenes_table(tmp_path / "web.lance", SceneSettings(canvas_px=48), 0, 4)
    return Source(table.path, table.version, "texts", 12)


def test_an_arm_differs_from_another_in_its_texts_alone(source):
    one = scratch(TRAINING, (source,), "none").model_dump()
    other = scratch(TRAINING, (source._replace(column="texts_kept", pairs=5),), "none").model_dump()
    assert one.pop("data")["sources"][0]["texts_column"] == "texts"
    assert other.pop("data")["sources"][0]["weight"] == 5
    assert one == other


def test_sources_are_met_in_proportion_to_their_pairs(source):
    recipe = scratch(TRAINING, (source, source._replace(pairs=36)), "all")
    assert [table.weight for table in recipe.data.sources] == [12, 36]
    assert {table.captions for table in recipe.data.sources} == {"all"}


def test_a_recipe_can_be_run(source):
    recipe = resolve(scratch(TRAINING, (source,), "all_but_cross_attention"))
    assert recipe.model.settings["sharing"] == "all_but_cross_attention"
    assert recipe.train.seed == 3


@pytest.mark.parametrize(
    ("part", "terms"), [("captioner", (0, 0, 1)), ("filter", (1, 1, 0)), ("shared", (1, 1, 1))]
)
def test_captioner_and_filter_learn_their_own_terms(source, tmp_path, part, terms):
    recipe = tuned(TRAINING, str(tmp_path), source, part)
    assert (recipe.objective.itc, recipe.objective.itm, recipe.objective.lm) == terms
    assert recipe.model.start == str(tmp_path)
    assert recipe.optim.lr == TRAINING.lr


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ConfigError, match="multiple"):
        build({"width": 40}, ModelSizes, "sizes")
