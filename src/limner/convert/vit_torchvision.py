"""torchvision's VisionTransformer, with the MLP's names of today and of its first release."""

from typing import Final

from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.keymap import KeyMap, Line, renamed, same
from limner.convert.preprocessing import TORCHVISION_SWAG, TORCHVISION_V1, at_size
from limner.convert.vit_shapes import (
    count,
    grid_side,
    head_count,
    known_labels,
    refuse_foreign_parts,
    shape_of,
    unwritable,
    vit_config,
)
from limner.models.vit import ViTConfig


def _recognises(weights: Weights, mlp: str) -> bool:
    keys = weights.tensors
    return "conv_proj.weight" in keys and f"encoder.layers.encoder_layer_0.mlp.{mlp}.weight" in keys


def _describe(weights: Weights, mlp: str) -> Description:
    tensors, origin = weights.tensors, weights.path.name
    refuse_foreign_parts(tensors, origin)
    width, _, patch_size, _ = shape_of(tensors, "conv_proj.weight", 4, origin)
    key = "encoder.pos_embedding"
    size = patch_size * grid_side(shape_of(tensors, key, 3, origin)[1], 1, key, origin)
    heads, notes = head_count(width, origin)
    config = vit_config(
        {
            "image_size": size,
            "patch_size": patch_size,
            "width": width,
            "depth": count(tensors, r"encoder\.layers\.encoder_layer_(\d+)\.", origin),
            "num_heads": heads,
            "mlp_dim": shape_of(tensors, f"encoder.layers.encoder_layer_0.mlp.{mlp}.weight", 2, origin)[0],
            "num_classes": len(tensors["heads.head.weight"]) if "heads.head.weight" in tensors else 0,
            "representation_dim": len(tensors["heads.pre_logits.bias"])
            if "heads.pre_logits.bias" in tensors
            else 0,
        },
        origin,
    )
    swag = "swag" in weights.path.stem or size != 224
    spec = at_size(TORCHVISION_SWAG if swag else TORCHVISION_V1, size)
    how = "straight to the input size (SWAG)" if swag else "to 256 before 224 are cut (IMAGENET1K_V1)"
    labels, named = known_labels((), config.num_classes)
    task = "classification" if config.num_classes else "features"
    notes = (*notes, f"torchvision's files say nothing of pictures: the short side goes {how}.", *named)
    return Description(config, spec, task, labels, notes=notes)


def _keymap(config: ViTConfig, mlp: tuple[str, str]) -> KeyMap:
    lines: list[Line] = [
        same("cls_token", "class_token"),
        same("pos_embed", "encoder.pos_embedding"),
        *renamed("patch_embed.proj", "conv_proj"),
        *renamed("norm", "encoder.ln"),
    ]
    for number in range(config.depth):
        ours, theirs = f"blocks.{number}", f"encoder.layers.encoder_layer_{number}"
        lines += renamed(f"{ours}.norm1", f"{theirs}.ln_1")
        lines += [
            same(f"{ours}.attn.qkv.{end}", f"{theirs}.self_attention.in_proj_{end}")
            for end in ("weight", "bias")
        ]
        lines += renamed(f"{ours}.attn.proj", f"{theirs}.self_attention.out_proj")
        lines += renamed(f"{ours}.norm2", f"{theirs}.ln_2")
        lines += renamed(f"{ours}.mlp.fc1", f"{theirs}.mlp.{mlp[0]}")
        lines += renamed(f"{ours}.mlp.fc2", f"{theirs}.mlp.{mlp[1]}")
    if config.representation_dim:
        lines += renamed("pre_logits.fc", "heads.pre_logits")
    if config.num_classes:
        lines += renamed("head", "heads.head")
    return KeyMap(tuple(lines))


def _checks(config: ViTConfig) -> None:
    held = ViTConfig(
        **config.model_dump(
            include={
                "patch_size",
                "width",
                "depth",
                "num_heads",
                "mlp_dim",
                "num_classes",
                "representation_dim",
            }
        ),
        image_size=config.grid_size * config.patch_size,
    )
    free = ("dropout", "drop_path", "init_std")
    for name, value in config.model_dump(exclude=set(free)).items():
        if value != getattr(held, name):
            raise unwritable("torchvision", f"{name} but {getattr(held, name)!r}; this model has {value!r}")
    if config.representation_dim and not config.num_classes:
        raise unwritable("torchvision", "representation_dim without a classifier")


DIALECTS: Final = (
    Dialect(
        "torchvision",
        "vit",
        lambda weights: _recognises(weights, "0"),
        lambda weights: _describe(weights, "0"),
        lambda config: _keymap(config, ("0", "3")),
        lambda config, description: {},
        _checks,
    ),
    Dialect(
        "torchvision_old",
        "vit",
        lambda weights: _recognises(weights, "linear_1"),
        lambda weights: _describe(weights, "linear_1"),
        lambda config: _keymap(config, ("linear_1", "linear_2")),
    ),
)
