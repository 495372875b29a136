import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limner.errors import ShapeError
from limner.models.positions import METHODS, resize_positions, with_image_size
from limner.models.vit import ViT, ViTConfig

SMALL = ViTConfig(image_size=32, patch_size=8, width=24, depth=2, num_heads=3, mlp_dim=40, num_classes=7)
GRIDS = [((4, 4), (7, 7)), ((6, 6), (3, 3)), ((4, 4), (5, 9)), ((3, 5), (8, 4)), ((5, 5), (1, 7))]


def table(grid: tuple[int, int], prefix: int) -> Tensor:
    return torch.randn(1, prefix + grid[0] * grid[1], 6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_prefix_tokens_keep_theirs(method: str, prefix: int) -> None:
    old = table((3, 4), prefix)
    new = resize_positions(old, prefix, (3, 4), (5, 2), method)
    assert new.shape == (1, prefix + 10, 6)
    assert torch.equal(new[:, :prefix], old[:, :prefix])
    assert resize_positions(old, prefix, (3, 4), (3, 4), method) is old
    assert resize_positions(old.half(), prefix, (3, 4), (5, 2), method).dtype is torch.float16


@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_google_s_is_scipys(old: tuple[int, int], new: tuple[int, int]) -> None:
    from scipy.ndimage import zoom

    given = table(old, 1)
    factors = (new[0] / old[0], new[1] / old[1], 1)
    want = zoom(given[0, 1:].view(*old, 6).double().numpy(), factors, order=1)
    ours = resize_positions(given, 1, old, new, "google")[0, 1:].view(*new, 6).numpy()
    assert np.abs(ours - want).max() <= 1e-5


@pytest.mark.peer
@pytest.mark.parametrize(("old", "new"), GRIDS)
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_timms_is_timms(old: tuple[int, int], new: tuple[int, int], prefix: int) -> None:
    from timm.layers import resample_abs_pos_embed

    given = table(old, prefix)
    want = resample_abs_pos_embed(given, list(new), list(old), prefix)
    assert torch.equal(resize_positions(given, prefix, old, new, "timm"), want)


@pytest.mark.peer
@pytest.mark.parametrize(("old", "new"), [pair for pair in GRIDS if pair[0][0] == pair[0][1]])
def test_open_clips_is_open_clips(old: tuple[int, int], new: tuple[int, int]) -> None:
    from open_clip.model import resize_pos_embed

    model = nn.Module()
    model.visual = nn.Module()
    model.visual.grid_size = new
    given = table(old, 1)
    state = {"visual.positional_embedding": given[0]}
    resize_pos_embed(state, model)
    assert torch.equal(
        resize_positions(given, 1, old, new, "open_clip")[0], state["visual.positional_embedding"]
    )


@pytest.mark.peer
@pytest.mark.parametrize(("old", "new"), [(4, 7), (6, 3)])
def test_torchvisions_is_torchvisions(old: int, new: int) -> None:
    from torchvision.models.vision_transformer import interpolate_embeddings

    given = table((old, old), 1)
    state = interpolate_embeddings(8 * new, 8, {"encoder.pos_embedding": given})
    ours = resize_positions(given, 1, (old, old), (new, new), "torchvision")
    assert torch.equal(ours, state["encoder.pos_embedding"])


def hf_embeddings(name: str, image_size: int) -> nn.Module:
    import transformers
    from transformers.models.blip.modeling_blip import BlipVisionEmbeddings
    from transformers.models.deit.modeling_deit import DeiTEmbeddings
    from transformers.models.vit.modeling_vit import ViTEmbeddings

    sizes = {"image_size": image_size, "patch_size": 8, "hidden_size": 6, "num_attention_heads": 2}
    if name == "blip":
        return BlipVisionEmbeddings(transformers.BlipVisionConfig(**sizes))
    if name == "deit":
        return DeiTEmbeddings(transformers.DeiTConfig(**sizes))
    return ViTEmbeddings(transformers.ViTConfig(**sizes))


@pytest.mark.peer
@pytest.mark.parametrize(
    ("name", "method", "prefix"), [("vit", "hf", 1), ("deit", "hf", 2), ("blip", "blip", 1)]
)
@pytest.mark.parametrize(("old", "new"), [pair for pair in GRIDS if pair[0][0] == pair[0][1]])
def test_transformers_is_transformers(
    name: str, method: str, prefix: int, old: tuple[int, int], new: tuple[int, int]
) -> None:
    theirs = hf_embeddings(name, 8 * old[0])
    given = table(old, prefix)
    place = "position_embedding" if name == "blip" else "position_embeddings"
    setattr(theirs, place, nn.Parameter(given))
    tokens = torch.empty(1, prefix + new[0] * new[1], 6)
    want = theirs.interpolate_pos_encoding(tokens, 8 * new[0], 8 * new[1])
    assert torch.equal(resize_positions(given, prefix, old, new, method), want)


def test_methods_are_not_each_other() -> None:
    old = table((14, 14), 1)
    bigger = {name: resize_positions(old, 1, (14, 14), (24, 24), name) for name in METHODS}
    for first, second in (
        ("google", "torchvision"),
        ("google", "timm"),
        ("timm", "hf"),
        ("hf", "torchvision"),
    ):
        assert (bigger[first] - bigger[second]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("tokens", "prefix", "old", "new"),
    [(17, 2, (4, 4), (5, 5)), (17, 1, (4, 5), (5, 5)), (17, 1, (4, 4), (0, 5)), (1, 1, (0, 4), (2, 2))],
)
def test_tables_of_another_grid_are_refused(
    tokens: int, prefix: int, old: tuple[int, int], new: tuple[int, int]
) -> None:
    with pytest.raises(ShapeError, match=f"{tokens} positions, {prefix} before"):
        resize_positions(torch.zeros(1, tokens, 4), prefix, old, new, "timm")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"distilled": True},
        {"class_token": False, "pool": "gap"},
        {"position": "2d"},
        {"position_at": "every"},
        {"position": "none"},
        {"bit_stem": (1,), "bit_width": 32},
    ],
)
def test_resized_models_read_the_new_size(change: dict[str, object]) -> None:
    model = ViT(ViTConfig.model_validate(SMALL.model_dump() | change)).eval()
    before = copy.deepcopy(model.state_dict())
    other = with_image_size(model, 57, "timm")
    assert other.config == model.config.model_copy(update={"image_size": 57})
    assert {k: v.shape for k, v in other.state_dict().items()} == {
        k: v.shape for k, v in ViT(other.config).state_dict().items()
    }
    assert other(torch.randn(1, 3, 57, 57)).logits.shape == (1, 7)
    assert not other.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
        assert "pos_embed" in key or torch.equal(value, other.state_dict()[key])


def test_two_axes_resized_are_the_whole_table_resized() -> None:
    model = ViT(SMALL.model_copy(update={"position": "2d"}))
    whole = resize_positions(model.positions(), 1, (4, 4), (7, 7), "hf")
    torch.testing.assert_close(with_image_size(model, 56, "hf").positions(), whole)


def test_resized_models_keep_what_is_frozen_and_their_dtype() -> None:
    model = ViT(SMALL).bfloat16().requires_grad_(requires_grad=False)
    other = with_image_size(model, 64, "google")
    assert other.pos_embed.dtype is torch.bfloat16
    assert not any(parameter.requires_grad for parameter in other.parameters())


def test_relative_positions_are_not_resized() -> None:
    model = ViT(SMALL.model_copy(update={"position": "relative"}))
    assert with_image_size(model, 33, "hf").config.image_size == 33  # still 4 by 4 patches
    with pytest.raises(ShapeError, match="relative positions of a grid of 4 by 4, asked for 8 by 8"):
        with_image_size(model, 64, "hf")


@pytest.mark.peer
def test_distilled_model_resized_has_timms_numbers() -> None:
    from timm.models.deit import VisionTransformerDistilled, checkpoint_filter_fn

    sizes = {
        "patch_size": 8,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 3,
        "mlp_ratio": 40 / 24,
        "num_classes": 7,
    }
    small = VisionTransformerDistilled(img_size=32, **sizes).eval()
    for parameter in small.parameters():
        nn.init.uniform_(parameter, -0.3, 0.3)
    large = VisionTransformerDistilled(img_size=56, **sizes).eval()
    large.load_state_dict(checkpoint_filter_fn(small.state_dict(), large))
    ours = ViT(SMALL.model_copy(update={"distilled": True})).eval()
    ours.load_state_dict(small.state_dict())
    pixels = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(with_image_size(ours, 56, "timm")(pixels).logits, large(pixels))
