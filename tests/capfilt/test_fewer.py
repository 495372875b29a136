from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.capfilt.bulk import BulkSettings
from limner.capfilt.caption import Caption
from limner.capfilt.fewer import agreement, first_pictures, merging
from limner.checkpoint import Bundle
from limner.errors import CheckpointError, ConfigError
from limner.models.decoding import Decoding
from limner.models.merging import MergingBlocks

GREEDY = BulkSettings(decoding=Decoding(max_tokens=6))


def pixels(bundle: Bundle, count: int) -> list[np.ndarray]:
    side = bundle.image_spec.size
    return [np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8) for i in range(count)]


def test_a_merging_bundle_is_another_model(bundle: Bundle) -> None:
    quick = merging(bundle, 2)
    assert quick.digest == f"{bundle.digest}+merge2"
    assert isinstance(quick.model.vision.blocks, MergingBlocks)
    assert merging(bundle, 0) is bundle


def test_a_model_agrees_with_itself(bundle: Bundle) -> None:
    found = agreement(bundle, bundle, pixels(bundle, 3), GREEDY)
    assert (found.pictures, found.same, found.words) == (3, 3, 1.0)
    assert "of 3 pictures 3 captions are the same as without merging, 100% of words" in found.said


def test_agreement_is_of_captions_word_by_word(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = iter([["a red cat", "one dog"], ["a blue cat", "one dog"]])
    monkeypatch.setattr(
        "limner.capfilt.fewer.caption_images",
        lambda bundle, images, keys, decoding, **how: [[Caption(text, -1.0, ())] for text in next(texts)],
    )
    found = agreement(bundle, merging(bundle, 1), pixels(bundle, 2), GREEDY)
    assert (found.same, found.words) == (1, pytest.approx((4 / 6 + 1) / 2))
    assert found.speed > 0


def test_pictures_to_compare_on_are_the_first_that_open(bundle: Bundle, tmp_path: Path) -> None:
    for number in range(20):
        Image.new("RGB", (30, 20), (number, 0, 0)).save(tmp_path / f"{number:02d}.png")
    (tmp_path / "00.png").write_bytes(b"no picture")
    found = first_pictures(bundle, sorted(tmp_path.glob("*.png")))
    assert len(found) == 15
    assert found[0].shape == (bundle.image_spec.size, bundle.image_spec.size, 3)
    assert found[0][0, 0, 0] == 1


def test_other_models_are_refused(bundle: Bundle) -> None:
    with pytest.raises(CheckpointError, match="whose tokens merge"):
        merging(bundle._replace(model=bundle.model.vision), 4)
    with pytest.raises(ConfigError, match="merging -1 tokens"):
        merging(bundle, -1)
