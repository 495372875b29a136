"""Position embeddings for another resolution, each library's way.

Dosovitskiy et al. 2020 (arXiv 2010.11929, section 3.2) keep the patch size and interpolate the pre-trained
positions in 2-D; what stands before the patches keeps its own. Libraries differ in how, and a model must be
resized as its library does it: on a random 14 to 24 grid they are .3 to 1 apart.

Checked against: `scipy.ndimage.zoom` (Google's code), timm `resample_abs_pos_embed`, open_clip
    `resize_pos_embed`, torchvision `interpolate_embeddings`, transformers' ViT, DeiT and BLIP.
"""

import copy
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.errors import ShapeError
from limner.models.vit import ViT
from limner.models.vit_config import ViTConfig

Method = Literal["google", "timm", "open_clip", "hf", "blip", "torchvision"]


class Interpolation(NamedTuple):
    """How values between grid points are found.

    Args:
        mode: "bilinear" or "bicubic".
        align_corners: corner points stay corner points; otherwise the corners of their cells do.
        antialias: widen the filter when the new grid is coarser.
    """

    mode: str
    align_corners: bool
    antialias: bool


METHODS: dict[Method, Interpolation] = {
    "google": Interpolation("bilinear", align_corners=True, antialias=False),
    "timm": Interpolation("bicubic", align_corners=False, antialias=True),
    "open_clip": Interpolation("bicubic", align_corners=False, antialias=True),
    "hf": Interpolation("bicubic", align_corners=False, antialias=False),
    "blip": Interpolation("bicubic", align_corners=False, antialias=False),
    "torchvision": Interpolation("bicubic", align_corners=True, antialias=False),
}


def resize_positions(
    table: Float[Tensor, "l n d"],
    prefix_tokens: int,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    method: Method,
) -> Float[Tensor, "l n2 d"]:
    """Interpolate the positions of patches from one grid to another.

    Args:
        table: one vector a token, patches row by row.
        prefix_tokens: tokens before the patches, such as the class token; kept as they are.
        old_grid: rows and columns of patches in `table`.
        new_grid: rows and columns wanted.
        method: the library to agree with; a key of `METHODS`.
    Returns: of the same dtype; computed in fp32. `table` itself when the grids are equal.
    Raises: ShapeError when `table` does not hold the old grid, or a grid is empty.
    Source: section 3.2, "2D interpolation of the pre-trained position embeddings".
    """
    if min(*old_grid, *new_grid) < 1 or table.shape[1] != prefix_tokens + old_grid[0] * old_grid[1]:
        raise ShapeError(
            f"{table.shape[1]} positions, {prefix_tokens} before the patches; grid {old_grid} to {new_grid}",
            wanted="prefix_tokens + rows · columns of the old grid, and at least one patch in both",
            hint="DeiT's distilled models have 2 prefix tokens, averaged ones may have none",
        )
    if old_grid == new_grid:
        return table
    way = METHODS[method]
    grid = table[:, prefix_tokens:].float().transpose(1, 2).reshape(len(table), -1, *old_grid)
    resized = F.interpolate(
        grid, new_grid, mode=way.mode, align_corners=way.align_corners, antialias=way.antialias
    )
    patches = resized.flatten(2).transpose(1, 2).to(table.dtype)
    return torch.cat([table[:, :prefix_tokens], patches], dim=1)


def with_image_size(model: ViT, image_size: int, method: Method) -> ViT:
    """Copy a model, with its positions interpolated for pictures of another size.

    Args:
        model: left as it is.
        image_size: side of the new square input, pixels.
        method: the library to agree with; a key of `METHODS`.
    Returns: a model with the same weights but its positions, and with `image_size` in its config.
    Raises: ShapeError for relative positions: in reading order an offset means another place on another grid.
    """
    config = ViTConfig.model_validate(model.config.model_dump() | {"image_size": image_size})
    old, new = model.config.grid_size, config.grid_size
    if config.position == "relative" and old != new:
        raise ShapeError(
            f"relative positions of a grid of {old} by {old}, asked for {new} by {new}",
            wanted='a model with position "1d", "2d" or "none"',
            hint="train the model with relative positions at the size you need",
        )
    twin = copy.deepcopy(model)
    twin.config = config
    prefix = config.prefix_tokens
    twin.pos_embed = _resized(twin.pos_embed, prefix, (old, old), (new, new), method)
    twin.pos_embed_x = _resized(twin.pos_embed_x, 0, (1, old), (1, new), method)
    twin.pos_embed_y = _resized(twin.pos_embed_y, 0, (1, old), (1, new), method)
    return twin


def _resized(
    table: nn.Parameter | None,
    prefix_tokens: int,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    method: Method,
) -> nn.Parameter | None:
    if table is None:
        return None
    resized = resize_positions(table.detach(), prefix_tokens, old_grid, new_grid, method)
    return nn.Parameter(resized, requires_grad=table.requires_grad)
