"""Dialogues as a task, about scenes and from VisDial's files."""

import json
from pathlib import Path

import pytest

from limner.checkpoint import Bundle, load
from limner.data.scene_table import build_scenes_table
from limner.data.scenes import SceneSettings
from limner.data.table import Table
from limner.errors import DataError
from limner.suite.dialog import DialogTaskSettings, measure
from limner.suite.selection import Selection


@pytest.fixture(scope="module")
def tiny() -> Bundle:
    return load()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dialog") / "scenes.lance"
    build_scenes_table(path, SceneSettings(seed=5), start=0, count=6)
    return path


def test_scenes_have_dialogues_with_truth(tiny: Bundle, path: Path) -> None:
    settings = DialogTaskSettings(way="lm", caption="none", options=8)
    found = measure(tiny, Selection(path=str(path), count=4), settings, None)
    ranks = [s["rank"] for s in found.samples]
    assert found.details["pictures"] == 4
    assert found.details["rounds"] == len(ranks) > 8
    assert found.measures["mrr"].value == pytest.approx(sum(1 / r for r in ranks) / len(ranks))
    assert found.measures["r1"].value == pytest.approx(sum(r == 1 for r in ranks) / len(ranks))
    assert found.measures["mrr"].low <= found.measures["mrr"].value <= found.measures["mrr"].high
    assert found.measures["ndcg"].value == pytest.approx(found.measures["r1"].value)  # one relevant option
    assert all((s["said"] == s["answer"]) == (s["rank"] == 1) for s in found.samples)
    assert found.measures["mrr"].value > found.details["chance_mrr"]


def test_visdial_finds_its_pictures_by_the_number_in_their_key(
    tiny: Bundle, path: Path, tmp_path: Path
) -> None:
    keys = Table.open(path).column("key")
    number = int(keys[2].rpartition("-")[2])
    dialog = [{"question": 0, "answer": 0, "answer_options": [1, 0], "gt_index": 1}]
    data = {
        "questions": ["is there an owl"],
        "answers": ["yes", "no"],
        "dialogs": [{"image_id": number, "caption": "an owl", "dialog": dialog}],
    }
    (tmp_path / "v.json").write_text(json.dumps({"data": data}))
    settings = DialogTaskSettings(visdial=str(tmp_path / "v.json"), caption="text")
    found = measure(tiny, Selection(path=str(path)), settings, None)
    assert [s["key"] for s in found.samples] == [f"{keys[2]}#1"]
    (tmp_path / "v.json").write_text(
        json.dumps({"data": data | {"dialogs": [data["dialogs"][0] | {"image_id": 99}]}})
    )
    with pytest.raises(DataError, match="has a dialogue"):
        measure(tiny, Selection(path=str(path)), settings, None)


def test_a_table_without_truth_needs_a_file(tiny: Bundle, path: Path, tmp_path: Path) -> None:
    table = Table.open(path)
    plain = table.arrow([name for name in table.column_names if name not in ("objects", "ground")])
    Table.write(tmp_path / "plain.lance", iter(plain.to_batches()), plain.schema)
    with pytest.raises(DataError, match=r"visdial=visdial_1\.0_val\.json"):
        measure(tiny, Selection(path=str(tmp_path / "plain.lance")), DialogTaskSettings(), None)
