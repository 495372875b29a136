from huggingface_hub import ModelCard

from limner.recipe import run


def test_a_run_without_a_card_gets_one(make_recipe, table, tmp_path):
    tables = f"evaluate.tables=[{{path='{table.path}', name='held', count=4}}]"
    result = run(make_recipe(tables), tmp_path / "run")
    card = ModelCard((result.model / "README.md").read_text(encoding="utf-8"))
    body = card.text
    assert card.data.to_dict() == {
        "library_name": "limner",
        "pipeline_tag": "image-to-text",
        "tags": ["limner", "limner_tiny"],
    }
    assert f"run {result.digest}" in body
    assert "started from fresh weights" in body
    assert "table squares.lance, version 1" in body
    assert str(tmp_path) not in body
    for name, value in result.measures.items():
        assert f"| {name} | {value:.4g} |" in body
    assert "- torch: " in body


def test_a_run_that_measures_nothing_says_so(make_recipe, tmp_path):
    first = run(make_recipe(), tmp_path / "first")
    assert "Nothing was measured" in (first.model / "README.md").read_text(encoding="utf-8")
    again = run(make_recipe("model.settings={}", f'model.start="{first.out}"'), tmp_path / "again")
    assert f"went on from `{first.out}`" in (again.model / "README.md").read_text(encoding="utf-8")
