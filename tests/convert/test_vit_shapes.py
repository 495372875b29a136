"""Sizes from shapes: what is counted, what is known by heart, and how holes are told."""

import pytest
import torch

from limner.convert import vit_shapes
from limner.convert.labels import IMAGENET_1K
from limner.errors import CheckpointError


def test_layers_are_counted_and_a_hole_is_an_error() -> None:
    keys = [f"blocks.{number}.norm1.weight" for number in (0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9)]
    assert vit_shapes.count(keys, r"blocks\.(\d+)\.", "a.pth") == 11
    with pytest.raises(CheckpointError, match=r"a\.pth: layer 1 is missing, layer 10 is there"):
        vit_shapes.count([keys[0], keys[2]], r"blocks\.(\d+)\.", "a.pth")
    assert vit_shapes.count([], r"blocks\.(\d+)\.", "a.pth") == 0


def test_grids() -> None:
    assert vit_shapes.grid_side(197, 1, "pos_embed", "a.pth") == 14
    assert vit_shapes.grid_side(198, 2, "pos_embed", "a.pth") == 14
    for tokens, why in (
        (196, "no_embed_class"),
        (199, "no square"),
        (1, "no_embed_class"),
        (0, "pos_embed has 0"),
    ):
        with pytest.raises(CheckpointError, match=why):
            vit_shapes.grid_side(tokens, 1, "pos_embed", "a.pth")


def test_heads() -> None:
    assert vit_shapes.head_count(768, "a.pth") == (12, ())
    assert vit_shapes.head_count(1280, "a.pth") == (16, ())
    assert vit_shapes.head_count(512, "a.pth")[1] == ("8 heads were assumed, 64 channels each.",)
    with pytest.raises(CheckpointError, match="how many heads a ViT 100 wide"):
        vit_shapes.head_count(100, "a.pth")


def test_the_side_of_the_input() -> None:
    assert vit_shapes.image_side(14, 16, None, "a.pth") == 224
    assert vit_shapes.image_side(14, 16, 230, "a.pth") == 230
    assert vit_shapes.image_side(2, 32, 61, "a.pth", stride=4) == 61
    with pytest.raises(CheckpointError, match="pictures of 384 pixels, the positions are of 14 by 14"):
        vit_shapes.image_side(14, 16, 384, "a.pth")


def test_shapes_of_another_kind_are_refused() -> None:
    tensors = {"a": torch.zeros(2, 3), "b": torch.zeros(0, 3)}
    assert vit_shapes.shape_of(tensors, "a", 2, "x.pth") == (2, 3)
    for key, axes, message in (
        ("a", 3, r"shape \(2, 3\)"),
        ("b", 2, r"shape \(0, 3\)"),
        ("c", 1, "c is missing"),
    ):
        with pytest.raises(CheckpointError, match=message):
            vit_shapes.shape_of(tensors, key, axes, "x.pth")


def test_impossible_sizes_are_an_error_of_the_file() -> None:
    fields = {"image_size": 32, "patch_size": 8, "width": 10, "depth": 1, "num_heads": 3, "mlp_dim": 4}
    with pytest.raises(CheckpointError, match=r"a\.pth: .*width by num_heads"):
        vit_shapes.vit_config(fields, "a.pth")


def test_imagenets_names_for_a_thousand_classes() -> None:
    assert vit_shapes.known_labels(("a",), 1) == (("a",), ())
    labels, notes = vit_shapes.known_labels((), 1000)
    assert labels == IMAGENET_1K
    assert "ImageNet" in notes[0]
    assert vit_shapes.known_labels((), 21843) == ((), ())


def test_plain_keys_are_no_foreign_parts() -> None:
    vit_shapes.refuse_foreign_parts(["blocks.0.norm1.weight", "head.bias", "mlp.fc1.weight"], "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: reg_token is of register tokens"):
        vit_shapes.refuse_foreign_parts(["blocks.0.norm1.weight", "reg_token"], "a.pth")
    assert "timm has no stem" in str(vit_shapes.unwritable("timm", "stem"))
