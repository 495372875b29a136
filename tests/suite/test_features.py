"""Vectors are made once for the same weights, preprocessing and pictures, and never hold NaN."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from limner.checkpoint import Bundle
from limner.errors import CheckpointError, DataError, LimnerError
from limner.shapes import ImageSpec
from limner.suite.features import feature_folder, features, holds_features, kept_bytes, open_features
from limner.suite.rows import rows_of
from limner.suite.run import open_model
from limner.suite.selection import Selection


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))


def test_vectors_are_the_models_and_are_read_again(table: Path, blip: Bundle) -> None:
    rows, told = rows_of(Selection(path=str(table))), []
    found = features(blip, rows, "joint", lambda *at: told.append(at))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert told == [(36, 36)]
    np.testing.assert_array_equal(features(blip, rows, "joint", lambda *at: told.append(at)), found)
    assert told == [(36, 36)]
    assert kept_bytes() > found.nbytes
    assert features(blip, rows, "probe").shape == (36, 16)


def test_other_weights_preprocessing_or_rows_are_another_file(table: Path, blip: Bundle) -> None:
    rows = rows_of(Selection(path=str(table)))
    for bundle, some in (
        (blip, rows),
        (blip._replace(digest="c" * 12), rows),
        (blip._replace(image_spec=ImageSpec(size=16, resampling="nearest")), rows),
        (blip, rows.only(range(35))),
        (blip, rows.only([1, 0, *range(2, 36)])),
    ):
        features(bundle, some, "probe")
    assert len(list(feature_folder().glob("*.safetensors"))) == 5


def test_nan_is_refused_and_not_kept(table: Path, resnet) -> None:
    bundle = resnet()._replace(digest="n" * 12)
    with torch.no_grad():
        bundle.model.bn1.weight[0] = float("nan")
    with pytest.raises(DataError, match="NaN"):
        features(bundle, rows_of(Selection(path=str(table))), "probe")
    assert kept_bytes() == 0


def test_a_classifier_gives_no_joint_vectors(table: Path, resnet) -> None:
    with pytest.raises(CheckpointError, match="no joint vectors"):
        features(resnet(), rows_of(Selection(path=str(table))), "joint")


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_file_of_vectors_stands_for_a_model(table: Path, tmp_path: Path, kind: str) -> None:
    rows, path = rows_of(Selection(path=str(table))), tmp_path / f"vectors.{kind}"
    vectors = np.arange(72, dtype=np.float32).reshape(36, 2)
    if kind == "npz":
        np.savez(path, keys=np.array(rows.keys), features=vectors)
    else:
        save_file({"features": vectors}, path, {"keys": json.dumps(rows.keys)})
    assert holds_features(path)
    bundle = open_features(path)
    np.testing.assert_array_equal(features(bundle, rows.only([3, 1]), "probe"), vectors[[3, 1]])
    with pytest.raises(CheckpointError, match="pictures alone"):
        features(bundle, rows, "joint")
    with pytest.raises(DataError, match="lacks 1"):
        features(bundle, rows._replace(keys=["other", *rows.keys[1:]]), "probe")


def test_a_weight_file_holds_no_vectors(tmp_path: Path, blip: Bundle) -> None:
    assert not holds_features(blip.path / "model.safetensors")
    assert not holds_features(tmp_path)
    np.savez(tmp_path / "bad.npz", keys=np.array(["a"]), features=np.ones((2, 2)))
    with pytest.raises(CheckpointError, match="no file of vectors"):
        open_features(tmp_path / "bad.npz")


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04 cut off", b""])
def test_a_broken_file_holds_no_vectors_and_is_refused_as_a_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    assert not holds_features(path)
    with pytest.raises(LimnerError):
        open_model(str(path))
