"""torchvision's ViT: run beside it, written back, loaded strictly there; both names of its MLP."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.convert import keymap as keys
from limner.convert.dialect import Description
from limner.convert.labels import IMAGENET_1K
from limner.convert.preprocessing import TORCHVISION_SWAG, TORCHVISION_V1, at_size
from limner.convert.vit_torchvision import DIALECTS
from limner.errors import CheckpointError
from limner.models.vit import ViT, ViTConfig

TORCHVISION, OLD = DIALECTS
CONFIG = ViTConfig(image_size=32, patch_size=8, width=128, depth=2, num_heads=2, mlp_dim=192, num_classes=7)


def their_model(**more: Any) -> nn.Module:
    from torchvision.models import VisionTransformer

    sizes = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 128, "mlp_dim": 192}
    return VisionTransformer(**({"image_size": 32, "num_classes": 7} | sizes | more))


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {re.sub(r"mlp\.0\.", "mlp.linear_1.", key): value for key, value in state.items()}
    return {re.sub(r"mlp\.3\.", "mlp.linear_2.", key): value for key, value in renamed.items()}


@pytest.mark.peer
@pytest.mark.parametrize("more", [{}, {"representation_size": 48}, {"image_size": 48}])
def test_torchvisions_model_runs_the_same(
    more: dict[str, Any],
    stirred: Callable[..., Any],
    open_vit: Callable[..., Any],
    same_logits: Callable[..., None],
) -> None:
    theirs = stirred(their_model(**more))
    ours, description, dialect = open_vit(theirs.state_dict(), "vit_b_16-c867db91.pth")
    assert dialect is TORCHVISION
    assert description.task == "classification"
    same_logits(ours, theirs)
    TORCHVISION.checks(description.config)
    written = keys.write(ours.state_dict(), TORCHVISION.keymap(description.config))
    assert all(torch.equal(written[key], value) for key, value in theirs.state_dict().items())
    again = their_model(**more).eval()
    again.load_state_dict(written, strict=True)
    same_logits(ours, again)


@pytest.mark.peer
def test_the_old_names_of_the_mlp(
    stirred: Callable[..., Any], open_vit: Callable[..., Any], same_logits: Callable[..., None]
) -> None:
    theirs = stirred(their_model())
    ours, _, dialect = open_vit(old_names(theirs.state_dict()))
    assert dialect is OLD
    same_logits(ours, theirs)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_round_trip_is_bit_equal(
    dialect: Any, stirred: Callable[..., Any], open_vit: Callable[..., Any]
) -> None:
    state = stirred(ViT(CONFIG)).state_dict()
    ours, found, _ = open_vit(keys.write(state, dialect.keymap(CONFIG)))
    assert found.config == CONFIG
    assert all(torch.equal(ours.state_dict()[key], state[key]) for key in state)


def test_pictures_go_by_size_and_name(open_vit: Callable[..., Any]) -> None:
    config = CONFIG.model_copy(update={"image_size": 224, "patch_size": 56, "num_classes": 1000})
    state = keys.write(ViT(config).state_dict(), TORCHVISION.keymap(config))
    _, plain, _ = open_vit(state, "vit_b_16-c867db91.pth")
    assert (plain.image_spec, plain.labels) == (TORCHVISION_V1, IMAGENET_1K)
    assert any("IMAGENET1K_V1" in note for note in plain.notes)
    _, swag, _ = open_vit(state, "vit_b_16_lc_swag-4e70ced5.pth")
    assert swag.image_spec == at_size(TORCHVISION_SWAG, 224)
    other = CONFIG.model_copy(update={"num_classes": 0})
    _, small, _ = open_vit(keys.write(ViT(other).state_dict(), TORCHVISION.keymap(other)))
    assert (small.image_spec, small.task) == (at_size(TORCHVISION_SWAG, 32), "features")


def test_what_is_not_held_is_refused(open_vit: Callable[..., Any]) -> None:
    state = keys.write(ViT(CONFIG).state_dict(), TORCHVISION.keymap(CONFIG))
    with pytest.raises(CheckpointError, match="no_embed_class"):
        open_vit(state | {"encoder.pos_embedding": torch.zeros(1, 16, 128)})
    with pytest.raises(CheckpointError, match=r"without a place .*heads\.extra"):
        open_vit(state | {"heads.extra.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"activation": "quick_gelu"}, "activation"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps"),
        ({"pool": "gap"}, "pool"),
        ({"distilled": True}, "distilled"),
        ({"pre_norm": True}, "pre_norm"),
        ({"bit_stem": (), "patch_size": 8}, "bit_stem"),
        ({"image_size": 35}, "image_size"),
        ({"num_classes": 0, "representation_dim": 8}, "representation_dim"),
    ],
)
def test_what_torchvision_cannot_hold_is_not_written(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(CheckpointError, match=f"torchvision has no {field}"):
        TORCHVISION.checks(CONFIG.model_copy(update=wrong))
    TORCHVISION.checks(CONFIG.model_copy(update={"dropout": 0.1, "drop_path": 0.1}))


def test_nothing_lies_beside_torchvisions_files() -> None:
    description = Description(CONFIG, at_size(TORCHVISION_V1, 32), "classification")
    assert TORCHVISION.companions(CONFIG, description) == {}
