"""Vision transformers of timm, and the list of all dialects that ViTs are stored in.

timm's keys are limner's own, so its table is one line a tensor; what has to be found out is what the keys do
not say: heads, activation, epsilon, pooling. timm's config.json tells some of it and its names tell the rest.
"""

import re
from typing import Any, Final

import torch

from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.fields import table
from limner.convert.keymap import KeyMap, same
from limner.convert.labels import labels_from
from limner.convert.preprocessing import HALF, at_size, from_timm, to_timm
from limner.convert.vit_google import DIALECTS as GOOGLE
from limner.convert.vit_hf import DIALECTS as HF
from limner.convert.vit_shapes import (
    count,
    grid_side,
    head_count,
    image_side,
    known_labels,
    refuse_foreign_parts,
    shape_of,
    unwritable,
    vit_config,
)
from limner.convert.vit_torchvision import DIALECTS as TORCHVISION
from limner.errors import CheckpointError
from limner.models.layers import ACTIVATIONS
from limner.models.vit import ViT, ViTConfig
from limner.shapes import IMAGENET_MEAN, IMAGENET_STD, ImageSpec

_HYBRIDS: Final = {
    (): "vit_tiny_r_s16_p8_224",
    (2, 2, 2, 2): "vit_small_r26_s32_224",
    (3, 4, 9): "vit_base_r50_s16_224",
    (3, 4, 6, 3): "vit_large_r50_s32_224",
}
_AUGREG: Final = ImageSpec(size=224, mean=HALF, std=HALF, crop="center", crop_fraction=0.9)
_DEIT: Final = ImageSpec(size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop="center", resize_px=256)
_ODD_HEADS: Final = {"vit_base_patch16_gap_224": 16}


def _timm_recognises(weights: Weights) -> bool:
    keys = weights.tensors
    patches = "patch_embed.proj.weight" in keys and not any(
        key.startswith("patch_embed.stem.") for key in keys
    )
    return patches and "blocks.0.norm1.weight" in keys and "layers.0.blocks.0.norm1.weight" not in keys


def _timm_describe(weights: Weights) -> Description:
    tensors, origin = weights.tensors, weights.path.name
    refuse_foreign_parts(tensors, origin)
    told = table(weights.sides, "config.json", origin)
    arguments = table(told, "model_args", origin)
    architecture = str(told.get("architecture") or weights.path.stem)
    if "siglip" in architecture:
        raise CheckpointError(f"{origin}: {architecture} is a SigLIP", wanted="a ViT, a hybrid or a DeiT")
    fields, notes = _timm_sizes(weights, architecture, arguments)
    grid, stride = fields.pop("grid"), fields.pop("stride")
    spec, more = _timm_images(weights, fields, grid * fields["patch_size"])
    fields["image_size"] = image_side(grid, fields["patch_size"], spec.size, origin, stride)
    config = vit_config(fields, origin)
    labels = labels_from(told, config.num_classes) if config.num_classes else ()
    labels, named = known_labels(labels, config.num_classes)
    task = "classification" if config.num_classes else "features"
    return Description(config, spec, task, labels, notes=(*notes, *more, *named))


def _timm_sizes(
    weights: Weights, architecture: str, arguments: Any
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Sizes by name of the config, `grid` and `stride` in place of the image size; and what was assumed."""
    tensors, origin = weights.tensors, weights.path.name
    width, channels, side, _ = shape_of(tensors, "patch_embed.proj.weight", 4, origin)
    stem = _bit_stem(weights)
    if stem is None and channels != 3:
        raise CheckpointError(f"{origin}: patches of {channels} channels", wanted="patches of RGB pixels")
    stride = 1 if stem is None else 4 * 2 ** max(len(stem) - 1, 0)
    prefix = ("cls_token" in tensors) + ("dist_token" in tensors)
    tokens = shape_of(tensors, "pos_embed", 3, origin)[1]
    heads = arguments.get("num_heads") or _ODD_HEADS.get(architecture)
    notes: tuple[str, ...] = ()
    if heads is None:
        heads, notes = head_count(width, origin)
    pre_norm = "norm_pre.weight" in tensors
    pool = _timm_pool(weights, arguments)
    return {
        "grid": grid_side(tokens, prefix, "pos_embed", origin),
        "stride": stride,
        "patch_size": side * stride,
        "width": width,
        "depth": count(tensors, r"blocks\.(\d+)\.", origin),
        "num_heads": heads,
        "mlp_dim": shape_of(tensors, "blocks.0.mlp.fc1.weight", 2, origin)[0],
        "num_classes": shape_of(tensors, "head.weight", 2, origin)[0] if "head.weight" in tensors else 0,
        "activation": _timm_activation(architecture, arguments, origin),
        "class_token": "cls_token" in tensors,
        "distilled": "dist_token" in tensors,
        "pool": pool,
        "pre_norm": pre_norm,
        "patch_bias": "patch_embed.proj.bias" in tensors,
        "representation_dim": len(tensors["pre_logits.fc.bias"]) if "pre_logits.fc.bias" in tensors else 0,
        "bit_stem": stem,
        "bit_width": 64 if stem is None else len(tensors[_root(stem) + "conv.weight"]),
        "layer_norm_eps": 1e-5 if pre_norm else 1e-6,
    }, notes


def _bit_stem(weights: Weights) -> tuple[int, ...] | None:
    """Blocks in each stage of a hybrid's stem; None when there is no stem."""
    tensors, start = weights.tensors, "patch_embed.backbone."
    if not any(key.startswith(start) for key in tensors):
        return None
    stages = count(tensors, re.escape(start) + r"stages\.(\d+)\.", weights.path.name)
    depths = tuple(
        count(tensors, re.escape(f"{start}stages.{stage}.blocks.") + r"(\d+)\.", weights.path.name)
        for stage in range(stages)
    )
    if _root(depths) + "conv.weight" not in tensors:
        raise CheckpointError(
            f"{weights.path.name}: the stem before the patches is no BiT stem",
            wanted=f"{_root(depths)}conv.weight",
        )
    return depths


def _root(depths: tuple[int, ...]) -> str:
    return "patch_embed.backbone." + ("stem." if depths else "")


def _timm_pool(weights: Weights, arguments: Any) -> str:
    """timm's "avg" norms after pooling where there is an fc_norm, before it where there is a norm."""
    tensors, origin = weights.tensors, weights.path.name
    told = arguments.get("global_pool") or table(weights.sides, "config.json", origin).get("global_pool")
    if told not in (None, "token", "avg"):
        raise CheckpointError(f"{origin}: global_pool is {told!r}", wanted="token or avg")
    if "fc_norm.weight" in tensors:
        if told == "token":
            raise CheckpointError(f"{origin}: fc_norm.weight after pooling a token", wanted="pooling by avg")
        return "gap_norm"
    return "gap" if told == "avg" or "cls_token" not in tensors else "token"


def _timm_activation(architecture: str, arguments: Any, origin: str) -> str:
    told = arguments.get("act_layer") or ("quick_gelu" if "quickgelu" in architecture else "gelu")
    name = {"quickgelu": "quick_gelu"}.get(told, told)
    if name not in ACTIVATIONS:
        raise CheckpointError(f"{origin}: act_layer is {told!r}", wanted=", ".join(ACTIVATIONS))
    return str(name)


def _timm_images(weights: Weights, fields: dict[str, Any], size: int) -> tuple[ImageSpec, tuple[str, ...]]:
    told = weights.sides.get("config.json")
    if told:
        return from_timm(told), ()
    is_deit = fields["distilled"] or weights.path.stem.startswith("deit")
    name, spec = ("DeiT", _DEIT) if is_deit else ("timm's AugReg", _AUGREG)
    return at_size(spec, size), (
        f"No config.json lies beside the file: pictures are prepared as for {name}.",
    )


def _timm_keymap(config: ViTConfig) -> KeyMap:
    with torch.device("meta"):
        keys = ViT(config).state_dict()
    return KeyMap(tuple(same(key, key) for key in keys))


def _timm_checks(config: ViTConfig) -> None:
    eps = 1e-5 if config.pre_norm else 1e-6
    hybrid = config.bit_stem is not None
    for wrong, what in (
        (
            config.position != "1d" or config.position_at != "stem",
            "positions but a vector a token, added once",
        ),
        (config.stem, "residual stem of this kind"),
        (hybrid and (config.bit_stem not in _HYBRIDS or config.bit_width != 64), "BiT stem of these sizes"),
        (hybrid and config.bit_epsilon != "inside", "Google's standardisation (bit_epsilon='outside')"),
        (config.representation_dim, "layer before the classifier (representation_dim)"),
        (
            config.patch_bias == config.pre_norm,
            f"patch_bias {config.patch_bias} with pre_norm {config.pre_norm}",
        ),
        (config.layer_norm_eps != eps, f"layer_norm_eps {config.layer_norm_eps} (its models have {eps})"),
        (config.distilled and (config.pre_norm or hybrid), "distilled model of this kind"),
    ):
        if wrong:
            raise unwritable("timm", what)


def _timm_companions(config: ViTConfig, description: Description) -> dict[str, Any]:
    """The config.json by which `timm.create_model("local-dir:FOLDER")` builds the same model."""
    if config.bit_stem is not None:
        architecture = _HYBRIDS[config.bit_stem]
    elif config.distilled:
        architecture = "deit_base_distilled_patch16_224"
    else:
        architecture = "vit_base_patch16_clip_224" if config.pre_norm else "vit_base_patch16_224"
    pool = "token" if config.pool == "token" else "avg"
    arguments: dict[str, Any] = {
        "img_size": config.image_size,
        "patch_size": config.patch_size // config.stem_stride,
        "embed_dim": config.width,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": config.mlp_dim / config.width,
        "act_layer": {"quick_gelu": "quick_gelu", "gelu_tanh": "gelu_tanh"}.get(config.activation, "gelu"),
    }
    if not config.distilled:
        fc_norm = config.pool == "gap_norm"
        arguments |= {"class_token": config.class_token, "global_pool": pool, "fc_norm": fc_norm}
    written = {
        "architecture": architecture,
        "num_classes": config.num_classes,
        "num_features": config.width,
        "global_pool": pool,
        "model_args": arguments,
        "pretrained_cfg": {
            **to_timm(description.image_spec),
            "num_classes": config.num_classes,
            "fixed_input_size": True,
            "custom_load": False,
            "first_conv": "patch_embed.proj",
            "classifier": ["head", "head_dist"] if config.distilled else "head",
        },
    }
    return {
        "config.json": {
            **written,
            **({"label_names": list(description.labels)} if description.labels else {}),
        }
    }


TIMM: Final = Dialect(
    "timm", "vit", _timm_recognises, _timm_describe, _timm_keymap, _timm_companions, _timm_checks
)


DIALECTS: Final[tuple[Dialect, ...]] = (TIMM, *TORCHVISION, *GOOGLE, *HF)
