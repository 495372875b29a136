"""CLIP checkpoints: OpenAI's archives, open_clip's files (both of its classes) and transformers' folders.

Shapes tell all sizes but three: the activation (QuickGELU or exact GELU), the heads of the largest towers,
and the picture size where patches leave a margin. OpenAI's format implies them; open_clip and transformers
say them in the JSON beside the weights. A bare open_clip file is looked up in `clip_tags`; when nobody knows,
it is refused, because a wrong activation loads without a word.

`weights.sides["options"]`, such as `{"activation": "gelu"}`, holds what the user says of the file.
"""

import re
from typing import Any, Final, get_args

from limner.convert import clip_tags
from limner.convert.clip_json import (
    HF_JSON,
    OPEN_CLIP_JSON,
    hf_json,
    hf_style,
    open_clip_json,
    open_clip_style,
)
from limner.convert.clip_keys import INTEGERS, custom_text_keys, hf_keys, open_clip_keys, openai_keys
from limner.convert.clip_limits import (
    check_hf,
    check_hf_json,
    check_open_clip,
    check_open_clip_json,
    check_openai,
)
from limner.convert.clip_sizes import (
    CUSTOM_TEXT,
    HF,
    OPENAI,
    Names,
    Style,
    assumed_heads,
    config_from,
    plain,
)
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.preprocessing import OPENAI_CLIP, at_size, from_hf, from_open_clip, to_hf, to_open_clip
from limner.errors import CheckpointError
from limner.models import entry
from limner.models.clip import CLIPConfig
from limner.models.layers import Activation
from limner.shapes import ImageSpec

_HF_PICTURES: Final = "preprocessor_config.json"
_NO_WORD: Final = "Nothing beside the file says how pictures are prepared; CLIP's own way is assumed."

_OTHERS: Final = (
    (r"logit_bias", "a SigLIP, trained pair by pair with a sigmoid, not a CLIP"),
    (r"text_decoder\..*|visual\.attn_pool(_contrastive)?\..*", "a CoCa, which also writes captions"),
    (r"visual\.trunk\..*", "a model whose vision tower is one of timm's"),
    (r"vision_model\.head\..*|vision_model\.embeddings\.patch_embedding\.bias", "a SigLIP's vision tower"),
    (
        r"text\.(proj\..*|transformer\.(?!resblocks).*)|text_model\.(encoder\.layer|roberta|transformer)\..*",
        "a model whose text tower is BERT or another of transformers'",
    ),
    (r".*\.(ls_1|ls_2)\.gamma", "a CLIP with layer scale"),
    (r"(text\.)?cls_emb", "a CLIP whose text tower has a class token"),
    (r"text\.text_projection\.(weight|bias)", "a CLIP whose text projection has a bias"),
)


def _is_openai(weights: Weights) -> bool:
    return _is_open_clip_like(weights) and _has_integers(weights) and OPEN_CLIP_JSON not in weights.sides


def _is_open_clip(weights: Weights) -> bool:
    return _is_open_clip_like(weights) and not _is_openai(weights) and not _has_text_prefix(weights)


def _is_custom_text(weights: Weights) -> bool:
    return _is_open_clip_like(weights) and not _is_openai(weights) and _has_text_prefix(weights)


def _is_hf(weights: Weights) -> bool:
    """CLIP or its kin; BLIP's towers bear the same names, but neither of these two keys."""
    towers = ("vision_model.pre_layrnorm.weight", "text_model.embeddings.token_embedding.weight")
    return any(key in weights.tensors for key in towers)


def _is_open_clip_like(weights: Weights) -> bool:
    return "logit_scale" in weights.tensors and any(key.startswith("visual.") for key in weights.tensors)


def _has_integers(weights: Weights) -> bool:
    return all(key in weights.tensors for key in INTEGERS)


def _has_text_prefix(weights: Weights) -> bool:
    return any(key.startswith("text.") for key in weights.tensors)


def _describe_openai(weights: Weights) -> Description:
    _refuse_others(weights)
    style = plain(_asked(weights) or "quick_gelu")
    config = config_from(weights.tensors, OPENAI, style, weights.path)
    return _description(config, at_size(OPENAI_CLIP, config.vision.image_size), _overridden(weights))


def _describe_open_clip(weights: Weights) -> Description:
    return _open_clip_description(weights, OPENAI)


def _describe_custom_text(weights: Weights) -> Description:
    return _open_clip_description(weights, CUSTOM_TEXT)


def _open_clip_description(weights: Weights, names: Names) -> Description:
    _refuse_others(weights)
    given = weights.sides.get(OPEN_CLIP_JSON)
    if given is None:
        return _bare_description(weights, names)
    config = config_from(weights.tensors, names, _with_options(open_clip_style(given), weights), weights.path)
    check_open_clip_json(config, given)
    return _description(config, from_open_clip(given), _overridden(weights))


def _bare_description(weights: Weights, names: Names) -> Description:
    """A file of open_clip's without its JSON: told by its name, or by the user, or refused."""
    tag = _fitting_tag(weights, names)
    activation = _asked(weights) or (tag.activation if tag else None)
    if activation is None and clip_tags.says_quick_gelu(weights.path):
        activation = "quick_gelu"
    if activation is None:
        raise CheckpointError(
            f"{weights.path}: the tensors do not tell whether this CLIP was trained with QuickGELU or exact "
            "GELU; with the wrong one it would run, and be worse",
            wanted=f"{OPEN_CLIP_JSON} beside the file, or a file name out of open_clip's list of weights",
            hint="--activation quick_gelu (OpenAI, MetaCLIP, DFN) or --activation gelu (LAION-2B, DataComp)",
        )
    style = plain(activation)
    config = config_from(weights.tensors, names, style, weights.path)
    size, notes = config.vision.image_size, (*assumed_heads(config, style), *_overridden(weights))
    if tag is None:
        return _description(config, at_size(OPENAI_CLIP, size), (*notes, _NO_WORD))
    told = f"Told by its name: open_clip's {tag.architecture}, {tag.tag}, {tag.activation}."
    return _description(config, tag.image_spec(size), (told, *notes))


def _fitting_tag(weights: Weights, names: Names) -> clip_tags.Tag | None:
    """The published weights of this name, when they have these sizes; a name alone may be anybody's."""
    tag = clip_tags.find(weights.path)
    if tag is None:
        return None
    config = config_from(weights.tensors, names, plain(tag.activation), weights.path)
    return tag if config == entry(tag.name).config else None


def _describe_hf(weights: Weights) -> Description:
    _refuse_others(weights)
    lacking = [part for part in ("vision", "text") if not _has_tower(weights, part)]
    if lacking:
        raise CheckpointError(
            f"{weights.path} holds no {lacking[0]} tower: {lacking[0]}_model.*, {_PROJECTIONS[lacking[0]]}",
            wanted="a whole CLIPModel, both towers with their projections",
            hint="save the CLIPModel that this tower was taken from",
        )
    given = weights.sides.get(HF_JSON)
    asked = _asked(weights)
    if given is None and asked is None:
        raise CheckpointError(
            f"{weights.path}: there is no {HF_JSON} beside it, which says the activation and the heads",
            wanted=f"{HF_JSON} in the same folder",
            hint="--activation quick_gelu (OpenAI's) or --activation gelu (LAION's)",
        )
    style = plain(asked or "gelu") if given is None else _with_options(hf_style(given), weights)
    config = config_from(weights.tensors, HF, style, weights.path)
    if given is not None:
        check_hf_json(config, given)
    spec, notes = _hf_pictures(weights, config.vision.image_size)
    notes = (*notes, *assumed_heads(config, style), *_overridden(weights))
    return _description(config, spec, notes, "clip_hf")


_PROJECTIONS: Final = {"vision": "visual_projection.weight", "text": "text_projection.weight"}


def _has_tower(weights: Weights, part: str) -> bool:
    inside = any(key.startswith(f"{part}_model.") for key in weights.tensors)
    return inside and _PROJECTIONS[part] in weights.tensors


def _hf_pictures(weights: Weights, image_size: int) -> tuple[ImageSpec, tuple[str, ...]]:
    given = weights.sides.get(_HF_PICTURES)
    if given is None:
        return at_size(OPENAI_CLIP, image_size), (_NO_WORD,)
    return from_hf(given, "clip"), ()


def _description(
    config: CLIPConfig, spec: ImageSpec, notes: tuple[str, ...], tokenizer: str = "clip"
) -> Description:
    if spec.size != config.vision.image_size:
        raise CheckpointError(
            f"pictures are prepared at {spec.size} pixels, the vision tower reads {config.vision.image_size}",
            wanted="one size in the JSON beside the weights",
        )
    return Description(config, spec, "contrastive", tokenizer=tokenizer, notes=notes)


def _refuse_others(weights: Weights) -> None:
    for pattern, what in _OTHERS:
        found = sorted(key for key in weights.tensors if re.fullmatch(pattern, key))
        if found:
            raise CheckpointError(
                f"{weights.path} is {what}: it holds {', '.join(found[:3])}",
                wanted="a CLIP of OpenAI, open_clip or transformers",
                hint="open it with the library that made it",
            )


def _asked(weights: Weights) -> Activation | None:
    asked = weights.sides.get("options", {}).get("activation")
    if asked is not None and asked not in get_args(Activation):
        raise CheckpointError(f"activation {asked!r}", wanted=" or ".join(get_args(Activation)))
    return asked  # type: ignore[no-any-return]


def _with_options(style: Style, weights: Weights) -> Style:
    asked = _asked(weights)
    return style if asked is None else style._replace(vision_activation=asked, text_activation=asked)


def _overridden(weights: Weights) -> tuple[str, ...]:
    asked = _asked(weights)
    return () if asked is None else (f"The activation, {asked}, is as the user said.",)


def _open_clip_files(config: CLIPConfig, found: Description) -> dict[str, Any]:
    return {
        OPEN_CLIP_JSON: {
            "model_cfg": open_clip_json(config),
            "preprocess_cfg": to_open_clip(found.image_spec),
        }
    }


def _hf_files(config: CLIPConfig, found: Description) -> dict[str, Any]:
    return {HF_JSON: hf_json(config), _HF_PICTURES: to_hf(found.image_spec, "CLIPImageProcessor")}


def _no_files(config: CLIPConfig, found: Description) -> dict[str, Any]:
    return {}


DIALECTS: Final[tuple[Dialect, ...]] = (
    Dialect("openai", "clip", _is_openai, _describe_openai, openai_keys, _no_files, check_openai),
    Dialect(
        "open_clip",
        "clip",
        _is_open_clip,
        _describe_open_clip,
        open_clip_keys,
        _open_clip_files,
        check_open_clip,
    ),
    Dialect("open_clip_custom_text", "clip", _is_custom_text, _describe_custom_text, custom_text_keys),
    Dialect("hf", "clip", _is_hf, _describe_hf, hf_keys, _hf_files, check_hf),
)
