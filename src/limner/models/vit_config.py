"""Sizes of a vision transformer, and which of them go together."""

from typing import Literal

from pydantic import Field, model_validator

from limner.config import Config
from limner.models.bit import StdEpsilon
from limner.models.layers import Activation


class ViTConfig(Config):
    """Sizes of a vision transformer.

    Args:
        image_size: side of the square input, pixels; what is left beyond whole patches is not looked at.
        patch_size: side of the square one token stands for, pixels; a stem's stride divides it.
        width: of a token.
        depth: transformer blocks.
        num_heads: heads of each attention; divides `width`.
        mlp_dim: hidden width of each MLP.
        num_classes: outputs of the classifier; 0 for none.
        activation: of each MLP; a key of `layers.ACTIVATIONS`.
        position: "1d" a vector a token; "2d" half a vector a column beside half a vector a row; "relative" a
            vector an offset, as an extra attention logit in every block; "none" (Table 8).
        position_at: of "1d" and "2d": added once after the "stem"; before "every" block, each with its own;
            before every block, the same, "shared".
        class_token: a learned token stands first.
        distilled: a second learned token with a classifier of its own (DeiT).
        pool: "token" the class token; "gap" the mean of the normed patches; "gap_norm" the normed mean of the
            patches (timm's `global_pool="avg"`).
        pre_norm: a layer norm before the first block (CLIP).
        patch_bias: the projection of the patches has a bias.
        representation_dim: outputs of a linear layer and tanh after pooling: the paper's pre-training head,
            transformers' pooler; 0 for none.
        dropout: after every dense layer but the queries, keys and values, and after the positions, [0, 1).
        stem: channels of the residual stages before the patches; empty for none. The first convolution and
            every stage after the first halve the resolution.
        stem_blocks: blocks in each stage.
        bit_stem: blocks in each stage of the paper's stem, () for its root alone; None for no such stem.
        bit_width: channels of that stem's root.
        bit_epsilon: how that stem standardises its weights: "inside" as timm, "outside" as Google's code.
        drop_path: probability of dropping a branch of the last block, rising from 0 at the first, [0, 1).
        layer_norm_eps: of every layer norm.
        init_std: of the truncated normal weights.
    """

    image_size: int = Field(ge=8)
    patch_size: int = Field(ge=1)
    width: int = Field(ge=1)
    depth: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    mlp_dim: int = Field(ge=1)
    num_classes: int = Field(default=0, ge=0)
    activation: Activation = "gelu"
    position: Literal["1d", "2d", "relative", "none"] = "1d"
    position_at: Literal["stem", "every", "shared"] = "stem"
    class_token: bool = True
    distilled: bool = False
    pool: Literal["token", "gap", "gap_norm"] = "token"
    pre_norm: bool = False
    patch_bias: bool = True
    representation_dim: int = Field(default=0, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    stem: tuple[int, ...] = ()
    stem_blocks: int = Field(default=1, ge=1)
    bit_stem: tuple[int, ...] | None = None
    bit_width: int = Field(default=64, ge=32, multiple_of=32)
    bit_epsilon: StdEpsilon = "inside"
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    layer_norm_eps: float = Field(default=1e-6, gt=0)
    init_std: float = Field(default=0.02, gt=0)

    @model_validator(mode="after")
    def _sizes_divide(self) -> "ViTConfig":
        for name, whole, part in (
            ("width by num_heads", self.width, self.num_heads),
            ("patch_size by the stem's stride", self.patch_size, self.stem_stride),
            ("width by the 2 axes of position", self.width, 2 if self.position == "2d" else 1),
        ):
            if whole % part:
                raise ValueError(f"{name}: {whole} is not divisible by {part}")
        if not self.grid_size:
            raise ValueError(f"image_size {self.image_size} has no patch of patch_size {self.patch_size}")
        return self

    @model_validator(mode="after")
    def _parts_go_together(self) -> "ViTConfig":
        for wrong, why in (
            (self.stem and self.bit_stem is not None, "stem and bit_stem: a hybrid has one stem"),
            (self.pool == "token" and not self.class_token, 'pool="token" needs class_token; "gap" does not'),
            (
                self.position in ("none", "relative") and self.position_at != "stem",
                f'position="{self.position}" adds nothing to the tokens: leave position_at at "stem"',
            ),
            (
                self.distilled and (self.pool != "token" or self.representation_dim > 0),
                'distilled needs pool="token" and representation_dim=0: each token has its own classifier',
            ),
        ):
            if wrong:
                raise ValueError(why)
        return self

    @property
    def stem_stride(self) -> int:
        """Pixels a side of one cell of the stem's map."""
        if self.bit_stem is None:
            return int(2 ** len(self.stem))
        return int(4 * 2 ** max(len(self.bit_stem) - 1, 0))

    @property
    def stem_channels(self) -> int:
        """Channels of the map that patches are cut from."""
        if self.bit_stem is None:
            return self.stem[-1] if self.stem else 3
        return int(self.bit_width * 2 ** (len(self.bit_stem) + 1)) if self.bit_stem else self.bit_width

    @property
    def grid_size(self) -> int:
        """Patches along one side."""
        return -(-self.image_size // self.stem_stride) // (self.patch_size // self.stem_stride)

    @property
    def num_patches(self) -> int:
        """Patches of a picture."""
        return self.grid_size**2

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches: class token and distillation token."""
        return int(self.class_token) + int(self.distilled)
