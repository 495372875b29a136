"""Zero-shot measures are those of the vectors, and their parts add up."""

from pathlib import Path

import numpy as np
import pytest

from limner.checkpoint import Bundle
from limner.errors import CheckpointError, DataError
from limner.evaluate.pictures import embed_texts
from limner.suite.features import features
from limner.suite.rows import rows_of
from limner.suite.selection import Selection
from limner.suite.zeroshot import ZeroShotSettings, measure, zero_shot_weights


def test_accuracy_is_that_of_a_loop_and_gains_add_up(table: Path, blip: Bundle) -> None:
    selection = Selection(path=str(table))
    found = measure(blip, selection, ZeroShotSettings(templates="cifar10"), None).values()
    rows = rows_of(selection)
    images, texts = features(blip, rows, "joint"), embed_texts(blip, ["blue", "green", "red"])
    right = [
        ("blue", "green", "red")[max(range(3), key=lambda k: image @ texts[k])] == label
        for image, label in zip(images, rows.labels, strict=True)
    ]
    assert found["top1_label_alone"] == pytest.approx(np.mean(right))
    total = found["top1_label_alone"] + found["gain_of_prompt"] + found["gain_of_ensemble"]
    assert total == pytest.approx(found["top1"])


def test_names_languages_superclasses_and_none_of_these(table: Path, blip: Bundle, tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text(
        "label,name,superclass,name_de\nred,red square,warm,rot\ngreen,green,cold,2\nblue,blue,cold,3\n"
    )
    settings = ZeroShotSettings(templates="{}", names=str(names), languages=("name_de",))
    found = measure(blip, Selection(path=str(table)), settings, None).values()
    assert {"top1_name_de", "superclass_pooled", "superclass_named"} <= set(found)
    settings = ZeroShotSettings(templates="{}", unknown=("blue",))
    found = measure(blip, Selection(path=str(table)), settings, None)
    assert {"none_auroc", "none_found", "known_kept", "none_threshold"} <= set(found.measures)
    assert {sample["truth"] for sample in found.samples} == {"green", "red"}


def test_a_model_whose_words_are_its_classes_is_right(table: Path, blip: Bundle) -> None:
    weights = zero_shot_weights(blip, ["red", "blue"], ["a {}", "{}"])
    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 1, rtol=1e-5)


def test_what_cannot_be_measured_is_refused(table: Path, blip: Bundle, resnet, tmp_path: Path) -> None:
    selection = Selection(path=str(table))
    with pytest.raises(CheckpointError):
        measure(resnet(), selection, ZeroShotSettings(), None)
    with pytest.raises(DataError, match="unknown class 'pink'"):
        measure(blip, selection, ZeroShotSettings(unknown=("pink",)), None)
    with pytest.raises(DataError, match="no names at"):
        measure(blip, selection, ZeroShotSettings(names=str(tmp_path / "none.csv")), None)
    (tmp_path / "short.csv").write_text("label,name\nred,red\n")
    with pytest.raises(DataError, match="2 of 3 labels"):
        measure(blip, selection, ZeroShotSettings(names=str(tmp_path / "short.csv")), None)
    (tmp_path / "no_name.csv").write_text("label\nred\n")
    with pytest.raises(DataError, match="lacks name"):
        measure(blip, selection, ZeroShotSettings(names=str(tmp_path / "no_name.csv")), None)
