"""Fine-tuning on questions and on statements, from a recipe to a bundle that answers."""

import pyarrow as pa
import pytest
from PIL import Image

import limner
from limner.checkpoint import load
from limner.data.statements import COLUMN, STATEMENT
from limner.errors import ConfigError
from limner.models.blip_nlvr2 import BLIPNLVR2
from limner.models.blip_vqa import BLIPVQA
from limner.recipe import resolve, run
from limner.recipe.tasks import task_of
from limner.record import read_records
from limner.train.watch import silent

VQA, NLVR2 = 'objective={kind="vqa"}', 'objective={kind="nlvr2"}'


@pytest.fixture
def stated(table):
    """The table with a statement in every row."""
    keys = table.column("key")
    column = [
        [{"other_key": keys[row - 1], "text": "both are red", "truth": bool(row % 2)}] for row in range(20)
    ]
    return table.add_columns(
        pa.table({"key": keys, COLUMN: pa.array(column, pa.list_(STATEMENT))}), "statements"
    )


def test_questions_are_learnt_from_fresh_weights_and_answered(make_recipe, table, tmp_path):
    tables = f"evaluate.tables=[{{path='{table.path}', name='all', count=5}}]"
    result = run(make_recipe(VQA, tables), tmp_path / "run")
    bundle = load(result.model)
    assert isinstance(bundle.model, BLIPVQA)
    assert (bundle.name, bundle.task) == ("", "vqa")
    assert read_records(result.out / "records.jsonl", "train")[-1]["terms"].keys() == {"vqa"}
    assert result.measures.keys() == {"all/accuracy", "all/accuracy_other"}
    assert "limner evaluate vqa --model" in result.hint
    card = (result.model / "README.md").read_text(encoding="utf-8")
    assert "visual-question-answering" in card
    assert isinstance(limner.load(result.out).answer(Image.new("RGB", (20, 20)), "what is left?").text, str)


def test_statements_are_learnt_from_a_blip(make_recipe, stated, tmp_path):
    first = run(make_recipe("train.steps=1"), tmp_path / "first")
    tables = f"evaluate.tables=[{{path='{stated.path}', name='all', count=4}}]"
    settings = (f'model.start="{first.out}"', "model.settings={}", "train.micro_batch=2")
    recipe = make_recipe(NLVR2, tables, *settings)
    task = task_of(resolve(recipe), silent)
    before = load(first.model).model.text_encoder.cross_attention[0].query.weight
    for twin in ("query0", "query1"):
        assert (getattr(task.model.text_encoder.cross_attention[0], twin).weight == before).all()
    result = run(recipe, tmp_path / "run")
    bundle = load(result.model)
    assert isinstance(bundle.model, BLIPNLVR2)
    assert bundle.task == "nlvr2"
    assert result.measures.keys() == {"all/accuracy", "all/consistency", "all/said_true"}
    grey = Image.new("RGB", (20, 20))
    assert 0 <= limner.load(result.out).judge(grey, grey, "both are red").true <= 1
    again = resolve(make_recipe(NLVR2, f'model.start="{result.out}"', "model.settings={}"))
    assert isinstance(task_of(again, silent).model, BLIPNLVR2)


def test_what_cannot_be_tuned_is_said(make_recipe, tmp_path):
    with pytest.raises(ConfigError, match="is a ResNet, and"):
        task_of(make_recipe(VQA, 'model.name="resnet50"', "model.settings={}"), silent)
    with pytest.raises(ConfigError, match="whose heads are: lm"):
        task_of(make_recipe(NLVR2, 'model.settings.heads=["lm"]'), silent)
    with pytest.raises(ConfigError, match="a source of kind 'scenes' for statements"):
        run(make_recipe(NLVR2, "data.sources=[{kind='scenes', count=9}]"), tmp_path / "run")
