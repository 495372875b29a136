"""The named detectors."""

import torch

from limner.models import build, entry
from limner.models.detector_variants import VARIANTS


def test_pictures_are_padded_and_never_cut() -> None:
    assert {line.image_spec.crop for line in VARIANTS.values()} == {"pad"}


def test_the_small_one_reads_pictures_of_its_spec() -> None:
    model, size = build("faster_rcnn_small").eval(), entry("faster_rcnn_small").image_spec.size
    with torch.no_grad():
        output = model(torch.rand(2, 3, size, size))
    assert output.class_logits.shape == (2, 100, 21)
    assert output.boxes.shape == (2, 100, 4)
    assert float(output.boxes.max()) <= size
