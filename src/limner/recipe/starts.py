"""Towers that start from weights of their own: a ViT for the pictures, a BERT for the texts.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 4.1: both were trained before BLIP's pre-training.
"""

from typing import Final

from torch import nn

from limner.convert.bert import TextStart, read_text_start, start_text
from limner.convert.opening import open_bundle, resized
from limner.errors import ConfigError
from limner.models.blip import BLIP
from limner.models.vit import ViT
from limner.recipe.schema import ModelSettings
from limner.train.watch import Report

_HEADS: Final = ("head.", "head_dist.", "pre_logits.")
_FREE: Final = ("image_size", "num_classes", "representation_dim", "dropout", "drop_path", "init_std")


def text_start(settings: ModelSettings) -> TextStart:
    """Read the BERT that a recipe names.

    Raises: ConfigError when `settings.text` asks for sizes that are not its own.
    """
    asked = settings.settings.get("text", {})
    found = read_text_start(settings.text_start, int(asked.get("depth", 0)))
    for name, size in found.sizes.items():
        if asked.get(name, size) != size:
            raise ConfigError(
                f"model.settings.text.{name} {asked[name]}, and {settings.text_start} has {size}",
                wanted="the sizes of model.text_start, which gives them itself",
                hint=f"leave model.settings.text.{name} out",
            )
    return found


def fill_texts(model: nn.Module, start: TextStart, name: str, report: Report) -> None:
    """Put a BERT into the text towers of a BLIP, and say what was left out and what starts afresh."""
    assert isinstance(model, BLIP)
    fresh = start_text(model, start)
    report(f"the texts go on from {name}: {start.sizes['depth']} layers, {start.sizes['vocab_size']} words")
    report(f"  of it, not used: {', '.join(_places(start.unused)) or 'nothing'}")
    report(f"  afresh: {', '.join(fresh) or 'nothing'}")


def _places(keys: list[str]) -> list[str]:
    """What keys are of, layers by number."""
    return sorted({".".join(key.split(".")[: 3 if key.startswith("encoder.layer.") else 1]) for key in keys})


def start_vision(model: nn.Module, name: str, report: Report) -> None:
    """Put the ViT of another model into the image encoder of this one; heads stay as they are.

    Args:
        model: a ViT, or one with a ViT for its pictures.
        name: what `open_bundle` opens; positions are interpolated.
        report: takes lines for the user.
    Raises: ConfigError when either has no ViT, or they are not alike.
    """
    tower, bundle = _vit_of(model, "this model"), open_bundle(name)
    if bundle.image_spec.size != tower.config.image_size:
        bundle = resized(bundle, tower.config.image_size)
    other = _vit_of(bundle.model, name)
    _require_alike(tower, other, name)
    kept = {key: value for key, value in other.state_dict().items() if not key.startswith(_HEADS)}
    missing, _ = tower.load_state_dict(kept, strict=False)
    report(f"the pictures go on from {name}: {tower.config.depth} layers of {tower.config.width}")
    report(f"  afresh: {', '.join(sorted({key.partition('.')[0] for key in missing})) or 'nothing'}")


def _vit_of(model: nn.Module, name: str) -> ViT:
    tower = model if isinstance(model, ViT) else getattr(model, "vision", None)
    if not isinstance(tower, ViT):
        raise ConfigError(
            f"model.vision_start, and {name} is a {type(model).__name__} without a ViT",
            wanted="a ViT on both sides",
            hint="model.start goes on from a whole model",
        )
    return tower


def _require_alike(ours: ViT, theirs: ViT, name: str) -> None:
    for field in type(ours.config).model_fields:
        own, other = getattr(ours.config, field), getattr(theirs.config, field)
        if own != other and field not in _FREE:
            raise ConfigError(
                f"model.vision_start {name} has {field} {other!r}, this model {own!r}",
                wanted="the same in both",
                hint=f"--set model.settings.vision.{field}={other}",
            )
