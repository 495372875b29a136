import pytest

from limner.config import to_toml
from limner.recipe import read, resolve
from limner.recipe.measures import evaluators
from limner.recipe.tasks import task_of
from limner.train.watch import silent


def test_each_table_is_a_measure_by_its_name(make_recipe, table):
    tables = f"evaluate.tables=[{{path='{table.path}', name='first', count=6}}, {{path='{table.path}'}}]"
    recipe = resolve(make_recipe(tables))
    task = task_of(recipe, silent)
    found = evaluators(recipe.evaluate, task)
    assert list(found) == ["first", "squares"]
    measures = dict(found["first"](task.model.eval()))
    assert {"i2t_r1", "t2i_r1", "cider_d"} <= measures.keys()
    again = dict(found["first"](task.model))
    assert again == measures
    all_of = dict(found["squares"](task.model))
    assert all_of != measures


@pytest.mark.parametrize(("option", "measured"), [("captions=false", False), ("captions=true", True)])
def test_captions_may_be_left_out(make_recipe, table, option, measured):
    tables = f"evaluate.tables=[{{path='{table.path}', count=4, {option}, rerank=2}}]"
    recipe = resolve(make_recipe(tables))
    task = task_of(recipe, silent)
    measures = dict(evaluators(recipe.evaluate, task)["squares"](task.model.eval()))
    assert ("cider_d" in measures) == measured


def test_tables_are_pinned_and_written(make_recipe, table, tmp_path):
    recipe = resolve(make_recipe(f"evaluate.tables=[{{path='{table.path}'}}]"))
    assert recipe.evaluate.tables[0].version == table.version
    (tmp_path / "again.toml").write_text(to_toml(recipe))
    assert read(tmp_path / "again.toml") == recipe


@pytest.mark.parametrize(
    ("head", "off", "measured"),
    [("itc", ("itm", "lm", "qa"), {"i2t_r1"}), ("lm", ("itc", "itm", "qa"), {"cider_d"})],
)
def test_a_blip_is_measured_by_the_heads_it_has(make_recipe, table, head, off, measured):
    recipe = make_recipe(
        f"evaluate.tables=[{{path='{table.path}', count=4}}]",
        f'model.settings.heads=["{head}"]',
        'objective.teacher="none"',
        *(f"objective.{term}=0" for term in off),
        *(['objective.prompt="red "'] if head == "lm" else []),
    )
    task = task_of(resolve(recipe), silent)
    assert task.prompt == ("red " if head == "lm" else "")
    measures = dict(evaluators(resolve(recipe).evaluate, task)["squares"](task.model.eval()))
    assert {"i2t_r1", "cider_d"} & measures.keys() == measured
