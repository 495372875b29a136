"""Known-answer checks of an opened model: what its source says it must be, against what it is.

The mistakes looked for load without a word and cost accuracy: another activation or epsilon, another mean,
labels in another order, a tokenizer with other ids, weights that were never filled.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from limner.checkpoint import Bundle, same_sizes
from limner.config import Config
from limner.convert import clip_tags, public
from limner.convert.answers import output_checks
from limner.convert.check import Check, agree
from limner.convert.labels import CIFAR_10, IMAGENET_1K
from limner.convert.preprocessing import BLIP, CIFAR, GOOGLE_VIT, OPENAI_CLIP
from limner.convert.soundness import weight_checks
from limner.data.bpe import CLIPTokenizer
from limner.data.tokenizers import WordPiece
from limner.errors import ConfigError
from limner.models import MODELS, canonical
from limner.models.clip import LARGEST_LOG_LOGIT_SCALE
from limner.models.sizes import table
from limner.models.vit_config import ViTConfig
from limner.shapes import IMAGENET_MEAN, IMAGENET_STD, ImageSpec


class Style(NamedTuple):
    """What the code of a library gives all models of a family.

    Args:
        activation: of the image encoder.
        vision_eps: of the image encoder's layer norms.
        text_eps: of the text tower's.
        text_activation: of the text tower, where it is a setting.
    """

    activation: str
    vision_eps: float
    text_eps: float | None = None
    text_activation: str | None = None


STYLES: Final[dict[tuple[str, str], Style]] = {
    ("openai", "clip"): Style("quick_gelu", 1e-5, 1e-5, "quick_gelu"),
    ("google", "vit"): Style("gelu_tanh", 1e-6),
    ("big_vision", "vit"): Style("gelu_tanh", 1e-6),
    ("torchvision", "vit"): Style("gelu", 1e-6),
    ("salesforce", "blip"): Style("gelu", 1e-6, 1e-12),
    ("salesforce", "blip_vqa"): Style("gelu", 1e-6, 1e-12),
    ("salesforce", "blip_nlvr2"): Style("gelu", 1e-6, 1e-12),
}
"""By how a dialect's name begins, and family. The others say it in the JSON beside their weights."""

_PICTURES: Final[dict[tuple[str, str], ImageSpec]] = {
    ("openai", "clip"): OPENAI_CLIP,
    ("google", "vit"): GOOGLE_VIT,
    ("torchvision", "vit"): ImageSpec(size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop="center"),
    ("torchvision", "resnet"): ImageSpec(size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop="center"),
    ("akamaster", "resnet"): CIFAR,
    ("salesforce", "blip"): BLIP,
    ("salesforce", "blip_vqa"): BLIP,
    ("salesforce", "blip_nlvr2"): BLIP,
}
_CLIP_IDS: Final = [49406, 320, 1125, 539, 320, 2368, 49407]
_BERT_IDS: Final = [101, 1037, 6302, 1997, 1037, 4937, 102]
_SENTENCE: Final = "a photo of a cat"
_GROUNDS: Final = ("finite weights", "parameters", "picture size")
_TEMPERATURES: Final = (0.001, 0.5)


def verify(bundle: Bundle) -> list[Check]:
    """Check a model against all that is known of it.

    Args:
        bundle: as it was opened.
    Returns: one line a check, those that failed with what to do.
    """
    checks = [*_size_checks(bundle), *_style_checks(bundle), *_picture_checks(bundle), *_label_checks(bundle)]
    checks += [*_tokenizer_checks(bundle), *_scale_checks(bundle), *weight_checks(bundle)]
    sound = all(check.ok for check in checks if check.name in _GROUNDS)
    return [*checks, *(output_checks(bundle) if sound else ())]


def published(source: Mapping[str, Any]) -> public.PublicFile | None:
    """The public file that a model was opened from: by its hash, else by its name.

    Args:
        source: of a bundle.
    """
    sha256, file = str(source.get("sha256", "")), str(source.get("file", ""))
    asked = str(source.get("name", ""))
    for known in public.PUBLIC.values():
        if (known.sha256 and sha256.startswith(known.sha256)) or asked == known.name:
            return known
        if not known.sha256 and file and Path(known.url).name == file:
            return known
    return None


def _config(bundle: Bundle) -> Any:
    return bundle.model.config


def _size_checks(bundle: Bundle) -> Iterator[Check]:
    sizes, named = table(), MODELS.get(bundle.name)
    if named is not None and bundle.name in sizes and same_sizes(named.config, _config(bundle)):
        found = sum(parameter.numel() for parameter in bundle.model.parameters())
        yield agree(
            "parameters", sizes[bundle.name].parameters, found, f"the file is not a whole {bundle.name}"
        )
    expected = _published_model(bundle)
    if expected:
        config: Config = MODELS[expected].config
        yield Check(
            "published sizes",
            expected,
            bundle.name or "other sizes",
            same_sizes(_without_classes(config), _without_classes(_config(bundle))),
            f"the file is published as {expected}: compare limner inspect with limner models {expected}",
        )


def _published_model(bundle: Bundle) -> str:
    """Name in `MODELS` of what the source says the file is; "" when it says nothing."""
    found = published(bundle.source)
    if found is not None:
        return found.model if found.model in MODELS else ""
    tag = clip_tags.find(Path(str(bundle.source.get("name", "")).replace("hub:", "")))
    try:
        return canonical(tag.name) if tag and bundle.architecture == "clip" else ""
    except ConfigError:
        return ""


def _without_classes(config: Config) -> Config:
    """A classifier of another size, or a pooler, is still the same network."""
    free = {"num_classes": 0, "representation_dim": 0, "activation": "gelu", "bit_epsilon": "inside"}
    held = {name: value for name, value in free.items() if name in type(config).model_fields}
    if isinstance(config, ViTConfig):  # Google's weights run with the tanh form, timm's port of them without
        return config.model_copy(update=held)
    return config.model_copy(update={name: value for name, value in held.items() if name == "num_classes"})


def _by_source(bundle: Bundle, known: Mapping[tuple[str, str], Any]) -> Any:
    dialect = str(bundle.source.get("dialect", ""))
    lines = (
        value
        for (library, family), value in known.items()
        if dialect.startswith(library) and family == bundle.architecture
    )
    return next(lines, None)


def _style_checks(bundle: Bundle) -> Iterator[Check]:
    style = _by_source(bundle, STYLES)
    if style is None:
        return
    config, library = _config(bundle), bundle.source["dialect"]
    vision, text = getattr(config, "vision", config), getattr(config, "text", None)
    hint = f"{library}'s weights were trained with it; convert them again from their own file"
    if isinstance(vision, ViTConfig):
        yield agree("activation of the image encoder", style.activation, vision.activation, hint)
        yield agree("epsilon of the image encoder", style.vision_eps, vision.layer_norm_eps, hint)
    if text is not None and style.text_eps is not None:
        yield agree("epsilon of the text tower", style.text_eps, text.layer_norm_eps, hint)
    if text is not None and style.text_activation is not None:
        yield agree("activation of the text tower", style.text_activation, text.activation, hint)


def _picture_checks(bundle: Bundle) -> Iterator[Check]:
    spec, config = bundle.image_spec, _config(bundle)
    side = getattr(getattr(config, "vision", config), "image_size", None)
    if side is not None:
        yield agree("picture size", side, spec.size, "pictures would not fit: image_spec.size in config.json")
    known = _by_source(bundle, _PICTURES)
    if known is None:
        return
    hint = f"{bundle.source['dialect']}'s weights expect it: image_spec in config.json"
    yield agree("mean of pictures", _rounded(known.mean), _rounded(spec.mean), hint)
    yield agree("std of pictures", _rounded(known.std), _rounded(spec.std), hint)
    yield agree("crop of pictures", known.crop, spec.crop, hint)


def _rounded(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values)


def _label_checks(bundle: Bundle) -> Iterator[Check]:
    labels, classes = bundle.labels, getattr(_config(bundle), "num_classes", 0)
    if not labels:
        return
    yield agree("number of labels", classes, len(labels), "one label for each output: labels in config.json")
    if len(labels) == len(IMAGENET_1K) and any(label.startswith("tench") for label in labels):
        ends = (labels[0].split(",")[0], labels[999].split(",")[0])
        hint = "the labels are in another order than ImageNet's: every prediction would be misnamed"
        yield agree("first and last label", (IMAGENET_1K[0], IMAGENET_1K[999]), ends, hint)
    if set(labels) == set(CIFAR_10):
        yield agree("labels of CIFAR-10", CIFAR_10, labels, "the labels are in another order than CIFAR-10's")


def _tokenizer_checks(bundle: Bundle) -> Iterator[Check]:
    text, tokenizer = getattr(_config(bundle), "text", None), bundle.tokenizer
    if text is None:
        return
    if tokenizer is None:
        yield Check(
            "tokenizer", f"one of {text.vocab_size:,} words", "none", False, "name it: --tokenizer PATH"
        )
        return
    fits = tokenizer.vocab_size <= text.vocab_size
    words = f"{tokenizer.vocab_size:,}"
    yield Check(
        "words", f"at most {text.vocab_size:,}", words, fits, "another model's tokenizer: --tokenizer PATH"
    )
    if isinstance(tokenizer, CLIPTokenizer):
        yield from _clip_tokenizer(tokenizer, text)
    elif isinstance(tokenizer, WordPiece):
        yield from _bert_tokenizer(tokenizer, _config(bundle))


def _clip_tokenizer(tokenizer: CLIPTokenizer, text: Any) -> Iterator[Check]:
    hint = "texts would be read as other words: --tokenizer PATH names the right one"
    if text.vocab_size == _CLIP_IDS[-1] + 1:
        yield agree(f"ids of {_SENTENCE!r}", _CLIP_IDS, tokenizer.encode(_SENTENCE), hint)
    last = text.vocab_size - 1 if text.eot_id is None else text.eot_id
    yield agree("id of the end of a text", last, tokenizer.eot_id, hint)


def _bert_tokenizer(tokenizer: WordPiece, config: Any) -> Iterator[Check]:
    hint = "texts would be read as other words: --tokenizer PATH names the right one"
    names = [name for name in ("pad", "cls", "sep", "dec", "enc") if hasattr(config, f"{name}_id")]
    wanted = {name: getattr(config, f"{name}_id") for name in names}
    found = {name: getattr(tokenizer, f"{name}_id") for name in names}
    yield agree("ids of special words", wanted, found, hint)
    if config.text.vocab_size == 30_524:
        public_ids = {"pad": 0, "cls": 101, "sep": 102, "dec": 30_522, "enc": 30_523}
        yield agree("BERT's special words", public_ids, wanted, "dec_id, enc_id … in config.json")
        yield agree(f"ids of {_SENTENCE!r}", _BERT_IDS, tokenizer.encode(_SENTENCE), hint)


def _scale_checks(bundle: Bundle) -> Iterator[Check]:
    weights = dict(bundle.model.named_parameters())
    if (scale := weights.get("log_logit_scale")) is not None:
        value = float(scale.detach())
        fine = math.isfinite(value) and 0 < value <= LARGEST_LOG_LOGIT_SCALE + 1e-2
        found = f"{math.exp(min(value, 700)):.2f}"
        hint = "the file may hold the scale itself where its logarithm belongs"
        yield Check("logit scale", "above 1, at most 100", found, fine, hint)
    if (temperature := weights.get("temperature")) is not None:
        value = float(temperature.detach())
        low, high = _TEMPERATURES
        fine = low <= value <= high
        yield Check(
            "temperature", f"{low} to {high}", f"{value:.4f}", fine, "it divides similarities: is it a scale?"
        )
