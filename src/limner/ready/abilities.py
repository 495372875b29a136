"""What each kind of model can be asked, and what to load instead where it cannot."""

from collections.abc import Callable
from typing import Final, NamedTuple

from torch import nn

from limner.checkpoint import Bundle
from limner.data.bpe import CLIPTokenizer
from limner.data.ngram_dictionary import NGramDictionary
from limner.data.tokenizers import WordPiece
from limner.errors import ConfigError
from limner.models import architecture_of
from limner.models.bag_of_words import BagOfWords
from limner.models.blip import BLIP
from limner.models.blip_nlvr2 import BLIPNLVR2
from limner.models.blip_vqa import BLIPVQA
from limner.models.clip import CLIP
from limner.models.convirt import ConVIRT
from limner.models.detector import Detector
from limner.models.icmlm import ICMLM
from limner.models.masked_patch import MaskedPatch
from limner.models.ngrams import NGrams
from limner.models.virtex import VirTex

GROUNDED: Final = (BLIP, BLIPVQA, BLIPNLVR2)
"""Models that read texts and pictures together."""

LEARNT_BY: Final = (MaskedPatch, BagOfWords, NGrams, VirTex, ICMLM)
"""Models that are there to train the image encoder inside; its vectors are theirs."""

_ENCODERS: Final = (CLIP, ConVIRT, *LEARNT_BY, *GROUNDED)

_VISION: Final = ("resnet", "vit", "local_attention", "axial", "cordonnier")


class Ability(NamedTuple):
    """One thing to ask of a model.

    Args:
        has: whether a model can.
        wanted: the kind of model that can.
        hint: one to load.
        readers: kinds of model that may only lack their tokenizer.
    """

    has: Callable[[Bundle], bool]
    wanted: str
    hint: str
    readers: tuple[type[nn.Module], ...] = ()


def is_vision(model: nn.Module) -> bool:
    """Whether a model reads pictures alone, and gives a vector and class scores."""
    return architecture_of(model.config) in _VISION  # type: ignore[arg-type]


def class_count(model: nn.Module) -> int:
    """Outputs of the classifier of pictures; 0 without one."""
    if is_vision(model) or isinstance(model, BLIP):
        return int(model.config.num_classes)  # type: ignore[union-attr, arg-type]
    return 0


def has_joint_space(bundle: Bundle) -> bool:
    """Whether pictures and texts become vectors of one space."""
    if isinstance(bundle.model, BLIP):
        return "itc" in bundle.model.config.heads and isinstance(bundle.tokenizer, WordPiece)
    if isinstance(bundle.model, ConVIRT):
        return isinstance(bundle.tokenizer, WordPiece)
    return isinstance(bundle.model, CLIP) and isinstance(bundle.tokenizer, CLIPTokenizer)


def scores_phrases(bundle: Bundle) -> bool:
    """Whether names of classes are scored by n-grams."""
    return isinstance(bundle.model, NGrams) and isinstance(bundle.tokenizer, NGramDictionary)


def answers_as_prompts(bundle: Bundle) -> bool:
    """Whether a BLIP's decoder was trained to go on from a question; its recipe tells."""
    objective = bundle.recipe.get("objective") or {}
    return _has_head(bundle, "lm") and float(objective.get("qa", 0)) > 0


def _has_head(bundle: Bundle, head: str) -> bool:
    return (
        isinstance(bundle.model, BLIP)
        and head in bundle.model.config.heads
        and isinstance(bundle.tokenizer, WordPiece)
    )


def _reads(bundle: Bundle, kind: type[nn.Module]) -> bool:
    return isinstance(bundle.model, kind) and isinstance(bundle.tokenizer, WordPiece)


ABILITIES: Final[dict[str, Ability]] = {
    "encode_image": Ability(
        lambda bundle: is_vision(bundle.model) or isinstance(bundle.model, _ENCODERS),
        "a model that reads pictures",
        'limner.load("limner_tiny")',
    ),
    "encode_text": Ability(
        has_joint_space,
        "a CLIP, or a BLIP with the head itc, and its tokenizer",
        'limner.load("limner_tiny"), or limner.load("hub:openai/clip-vit-base-patch32")',
        (CLIP, BLIP),
    ),
    "classify": Ability(
        lambda bundle: class_count(bundle.model) > 0 or has_joint_space(bundle) or scores_phrases(bundle),
        "a model with a classifier, or one that compares pictures with labels",
        'limner.load("hub:timm/resnet50.a1_in1k"), or limner.load("hub:openai/clip-vit-base-patch32")',
        (CLIP, BLIP),
    ),
    "caption": Ability(
        lambda bundle: _has_head(bundle, "lm"),
        "a BLIP with the head lm and its tokenizer",
        'limner.load("limner_tiny"), or limner.load("hub:Salesforce/blip-image-captioning-base")',
        (BLIP,),
    ),
    "answer": Ability(
        lambda bundle: _reads(bundle, BLIPVQA) or answers_as_prompts(bundle),
        "a BLIP trained to answer questions, with its tokenizer",
        'limner.load("limner_tiny"), or limner.load("hub:Salesforce/blip-vqa-base")',
        (BLIPVQA,),
    ),
    "match": Ability(
        lambda bundle: has_joint_space(bundle) or _has_head(bundle, "itm"),
        "a CLIP, or a BLIP with the head itm or itc, and its tokenizer",
        'limner.load("limner_tiny"), or limner.load("hub:Salesforce/blip-itm-base-coco")',
        (CLIP, BLIP),
    ),
    "detect": Ability(
        lambda bundle: isinstance(bundle.model, Detector) and bool(bundle.labels),
        "a detector with the names of its classes",
        'limner.load("RUN") of a run with objective.kind = "detection"',
    ),
    "judge": Ability(
        lambda bundle: _reads(bundle, BLIPNLVR2),
        "a BLIP trained on statements about two pictures, with its tokenizer",
        "limner.load of the released model_base_nlvr.pth",
        (BLIPNLVR2,),
    ),
}


def abilities(bundle: Bundle) -> tuple[str, ...]:
    """Names of what a model can be asked."""
    return tuple(name for name, ability in ABILITIES.items() if ability.has(bundle))


def require(bundle: Bundle, name: str) -> None:
    """Make sure that a model can be asked something.

    Raises: ConfigError that says what it can, and what to load instead.
    """
    ability = ABILITIES[name]
    if ability.has(bundle):
        return
    can = ", ".join(abilities(bundle)) or "nothing"
    given = f"{name} with {bundle.kind}, which can: {can}"
    if bundle.tokenizer is None and isinstance(bundle.model, ability.readers):
        raise ConfigError(
            given + "; it has no tokenizer",
            wanted="the one it was trained with",
            hint=f'limner.load("{bundle.path}", tokenizer=FOLDER), where its tokenizer.json lies',
        )
    raise ConfigError(given, wanted=ability.wanted, hint=ability.hint)
