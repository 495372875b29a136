"""VisDial v1.0's layout, read."""

import json
from pathlib import Path

import pytest

from limner.data.dialogues import read_visdial
from limner.errors import DataError

DIALOG = {
    "image_id": 42,
    "caption": "a cat on a mat",
    "dialog": [
        {"question": 1, "answer": 0, "answer_options": [2, 0, 1], "gt_index": 1},
        {"question": 0, "answer": 2, "answer_options": [2, 1, 0], "gt_index": 0},
    ],
}
DATA = {"questions": ["what colour", "is it a cat"], "answers": ["yes", "no", "grey"], "dialogs": [DIALOG]}


def _written(folder: Path, name: str, value: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(value))
    return path


def test_numbers_become_words_and_judgements_find_their_round(tmp_path: Path) -> None:
    path = _written(tmp_path, "val.json", {"version": "1.0", "split": "val", "data": DATA})
    dense = _written(
        tmp_path, "dense.json", [{"image_id": 42, "round_id": 2, "gt_relevance": [1.0, 0.0, 0.4]}]
    )
    (found,) = read_visdial(path, dense)
    assert (found.image_id, found.caption) == ("42", "a cat on a mat")
    first, second = found.rounds
    assert first == ("is it a cat", "yes", ("grey", "yes", "no"), 1, ())
    assert second == ("what colour", "grey", ("grey", "no", "yes"), 0, (1.0, 0.0, 0.4))


def test_rounds_without_truth_keep_their_words_and_have_nothing_to_rank(tmp_path: Path) -> None:
    dialog = DIALOG | {"dialog": [{"question": 0, "answer": 2}, {"question": 1, "answer_options": [0, 1]}]}
    path = _written(tmp_path, "test.json", {"data": DATA | {"dialogs": [dialog]}})
    assert [(r.answer, r.options) for r in read_visdial(path)[0].rounds] == [("grey", ()), ("", ())]


def test_train_judgements_are_called_relevance(tmp_path: Path) -> None:
    path = _written(tmp_path, "train.json", {"data": DATA})
    dense = _written(tmp_path, "d.json", [{"image_id": 42, "round_id": 1, "relevance": [0, 1, 0]}])
    assert read_visdial(path, dense)[0].rounds[0].relevance == (0.0, 1.0, 0.0)


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_visdial(tmp_path / "none.json")
    with pytest.raises(DataError, match=r"layout of VisDial v1\.0: KeyError 'data'"):
        read_visdial(_written(tmp_path, "a.json", {}))
    path = _written(tmp_path, "b.json", {"data": DATA})
    dense = _written(tmp_path, "d.json", [{"image_id": 42, "round_id": 1, "gt_relevance": [1.0]}])
    with pytest.raises(DataError, match="round 1: 1 of 3 judged"):
        read_visdial(path, dense)
