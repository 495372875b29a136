import pytest
from pydantic import ValidationError

from limner.models.vit_config import ViTConfig

SMALL = ViTConfig(image_size=32, patch_size=8, width=24, depth=3, num_heads=3, mlp_dim=40, num_classes=7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 5}, "width by num_heads: 24 is not divisible by 5"),
        ({"patch_size": 64}, "image_size 32 has no patch of patch_size 64"),
        ({"stem": (4, 4, 4, 4)}, "stem's stride"),
        ({"bit_stem": (1, 1, 1)}, "stem's stride"),
        ({"bit_stem": (), "bit_width": 48}, "multiple of 32"),
        ({"bit_stem": (), "stem": (8,)}, "a hybrid has one stem"),
        ({"width": 27, "position": "2d"}, "width by the 2 axes"),
        ({"class_token": False}, "needs class_token"),
        ({"position": "relative", "position_at": "every"}, 'leave position_at at "stem"'),
        ({"position": "none", "position_at": "shared"}, 'leave position_at at "stem"'),
        ({"distilled": True, "pool": "gap"}, "distilled needs"),
        ({"distilled": True, "representation_dim": 8}, "distilled needs"),
        ({"distilled": True, "class_token": False, "pool": "gap"}, "distilled needs"),
        ({"activation": "relu"}, "gelu"),
    ],
)
def test_impossible_sizes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ViTConfig.model_validate(SMALL.model_dump() | change)


@pytest.mark.parametrize(
    ("change", "stride", "channels", "grid"),
    [
        ({}, 1, 3, 4),
        ({"image_size": 39}, 1, 3, 4),
        ({"stem": (8, 12)}, 4, 12, 4),
        ({"bit_stem": ()}, 4, 64, 4),
        ({"bit_stem": (2, 2, 2, 2), "patch_size": 32, "image_size": 224}, 32, 2048, 7),
        ({"bit_stem": (3, 4, 9), "patch_size": 16, "image_size": 225}, 16, 1024, 15),
    ],
)
def test_sizes_follow_from_the_stem(change: dict[str, object], stride: int, channels: int, grid: int) -> None:
    config = ViTConfig.model_validate(SMALL.model_dump() | change)
    assert (config.stem_stride, config.stem_channels, config.grid_size) == (stride, channels, grid)
    assert config.num_patches == grid**2


def test_configs_of_before_have_the_defaults() -> None:
    old = {"image_size": 32, "patch_size": 8, "width": 24, "depth": 3, "num_heads": 3, "mlp_dim": 40}
    config = ViTConfig.model_validate(old | {"stem": (8, 12)})
    assert (config.position, config.pool, config.activation) == ("1d", "token", "gelu")
    assert config.prefix_tokens == 1
