import json

import pytest
from PIL import Image


@pytest.fixture
def table(limner, photos, tmp_path):
    path = tmp_path / "pairs.lance"
    assert limner("import", photos, "--out", path, "--max-bad", 1).exit_code == 0
    return path


def test_tasks_are_listed_with_their_settings(limner):
    listed = limner("evaluate")
    assert listed.exit_code == 0
    assert {"zeroshot", "probe", "paper"} <= {line.split()[0] for line in listed.stdout.splitlines()}
    assert "top_k = 0" in limner("evaluate", "retrieval", "--list").stdout
    found = {one["task"]: one for one in json.loads(limner("evaluate", "--list", "--json").stdout)}
    assert found["retrieval"]["settings"]["top_k"] == 0


def test_results_are_printed_recorded_and_reused(limner, table, tmp_path):
    call = ("evaluate", "retrieval", "--data", table, "--out", tmp_path / "out")
    first = limner(*call)
    assert first.exit_code == 0
    assert "i2t_r1" in first.stdout
    (again,) = json.loads(limner(*call, "--json").stdout)
    assert again["reused"]
    assert again["kind"] == "measure"
    assert (tmp_path / "out" / again["samples"]).is_file()


def test_a_refusal_does_not_stop_the_others(limner, table, tmp_path):
    found = limner("evaluate", "classification,retrieval", "--data", table, "--out", tmp_path / "out")
    assert found.exit_code == 1
    assert "without a classifier" in found.stderr
    assert "i2t_r1" in found.stdout
    alone = limner("evaluate", "classification", "--data", table, "--out", tmp_path / "out")
    assert alone.exit_code == 2


def test_a_folder_of_pictures_is_imported(limner, photos, tmp_path):
    found = limner("evaluate", "retrieval", "--data", photos, "--out", tmp_path / "out", "--json")
    assert found.exit_code == 0


def test_published_scores_are_listed_with_what_is_missing(limner, table, tmp_path):
    call = ("evaluate", "paper", "--model", "hub:openai/clip-vit-base-patch32")
    shown = limner(*call, "--data", table, "--out", tmp_path)
    assert shown.exit_code == 0
    assert "63.32 % ± 0.1" in shown.stdout
    assert "not run: no table of 50,000 such rows" in shown.stdout
    found = json.loads(limner(*call, "--json").stdout)
    assert {"expected", "tolerance", "command", "source", "status"} <= found[0].keys()


def test_a_task_that_does_not_exist_is_refused(limner, table):
    found = limner("evaluate", "zero", "--data", table)
    assert found.exit_code == 2
    assert "the task 'zero'" in found.stderr


def test_curves_over_few_labels_are_drawn(limner, tmp_path):
    colours = tmp_path / "colours"
    for number in range(8):
        label, split = ("red", "blue")[number % 2], ("train", "test")[number // 4]
        path = colours / split / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), label).save(path)
    table = tmp_path / "colours.lance"
    assert limner("import", colours, "--out", table).exit_code == 0
    settings = ("--set", "shots=[1,2]", "--set", "repeats=2", "--set", "templates={}")
    found = limner("evaluate", "fewshot", "--data", table, "--out", tmp_path / "out", *settings)
    assert found.exit_code == 0, found.stderr
    assert "fewshot.png" in found.stderr
    with Image.open(tmp_path / "out" / "fewshot.png") as picture:
        assert picture.width > 100
