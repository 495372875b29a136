"""Tasks small enough to train in a test: two-coloured squares, and models of a few thousand weights.

As a script, `python jobs.py OUT KIND…` trains each kind for 20 steps on as many ranks as torchrun started, by
SGD, since Adam makes whole steps of gradients that are nothing but rounding.
"""

import sys
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limner import ranks
from limner.data.batches import AsCaptioned, AsLabelled, AsPictures
from limner.data.bpe import CLIPTokenizer
from limner.data.loader import Loader, Pairs
from limner.data.ngram_dictionary import AsNGrams, NGramDictionary
from limner.data.question_batches import AsQuestions, AsStatements
from limner.data.rows import Sample
from limner.data.tokenizers import WordPiece
from limner.data.worded import AsTagged, AsWorded
from limner.models.bag_of_words import BagOfWords, BagOfWordsConfig
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, BLIPConfig
from limner.models.blip_nlvr2 import nlvr2_from
from limner.models.blip_vqa import vqa_from
from limner.models.clip import CLIP, CLIPConfig, CLIPTextConfig
from limner.models.convirt import ConVIRT, ConVIRTConfig
from limner.models.icmlm import ICMLM, ICMLMConfig
from limner.models.masked_patch import MaskedPatch, MaskedPatchConfig
from limner.models.ngrams import NGrams, NGramsConfig
from limner.models.resnet import ResNet, ResNetConfig
from limner.models.virtex import VirTex, VirTexConfig
from limner.models.vit import ViT
from limner.models.vit_config import ViTConfig
from limner.shapes import ImageSpec
from limner.train.loop import train
from limner.train.optim import OptimSettings
from limner.train.run import Job
from limner.train.settings import MachineSettings, TrainSettings
from limner.train.steps import (
    BagOfWordsSettings,
    BagOfWordsStep,
    BLIPStep,
    ClassificationSettings,
    ClassificationStep,
    CLIPStep,
    ContrastiveSettings,
    ConVIRTSettings,
    ConVIRTStep,
    ICMLMSettings,
    ICMLMStep,
    MaskedPatchSettings,
    MaskedPatchStep,
    NGramsSettings,
    NGramsStep,
    NLVR2Settings,
    NLVR2Step,
    ObjectiveSettings,
    VirTexSettings,
    VirTexStep,
    VQASettings,
    VQAStep,
    start_blip,
    start_draws,
)

SPEC = ImageSpec(size=16)
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "black": (0, 0, 0),
    "white": (255,) * 3,
}
PAIRS = list(permutations(COLOURS, 2))
KINDS = ("resnet", "vit", "masked_patch", "clip", "blip", "vqa", "nlvr2")
SIZES = {"width": 16, "num_heads": 2, "mlp_dim": 32}
VISION = ViTConfig(image_size=16, patch_size=4, depth=1, **SIZES)


class Squares:
    """Left half in one colour, right half in another, with grain; every other row has a question."""

    def __len__(self) -> int:
        return len(PAIRS)

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        return [self._sample(index) for index in indices]

    def _sample(self, index: int) -> Sample:
        left, right = PAIRS[index]
        image = np.zeros((16, 16, 3), np.uint8)
        image[:, :8], image[:, 8:] = COLOURS[left], COLOURS[right]
        grain = np.random.default_rng(index).integers(
            0, 40, image.shape
        )  # flat areas meet ReLU's kink at once
        image = (image * 0.8 + grain).astype(np.uint8)
        asked = ("what is left?", left) if index % 2 else ("", "")
        return Sample(f"pair-{index}", image, f"{left} beside {right}", *asked, image_id=index, label=left)


class Mirrored(Squares):
    """Each picture beside its mirror image, with a statement about the two."""

    def _sample(self, index: int) -> Sample:
        made = super()._sample(index)
        truth = "true" if index % 3 else "false"
        return made._replace(question=made.caption, answer=truth, other=made.image[:, ::-1].copy())


def words() -> WordPiece:
    """BLIP's vocabulary of these rows."""
    return WordPiece.from_texts([*(f"{a} beside {b}" for a, b in PAIRS), "what is left?"], 120)


def letters() -> CLIPTokenizer:
    """CLIP's vocabulary without a merge: bytes."""
    return CLIPTokenizer.from_merges("#version: 0.2\n", vocab_size=514)


def blip_config(tokenizer: WordPiece, dropout: float = 0.1) -> BLIPConfig:
    """A BLIP for `words`."""
    sizes = {**SIZES, "memory_width": 16, "max_positions": 32, "dropout": dropout}
    text = BertConfig(vocab_size=tokenizer.vocab_size, depth=2, **sizes)
    ids = {f"{name}_id": getattr(tokenizer, f"{name}_id") for name in ("pad", "cls", "sep", "dec", "enc")}
    vision = ViTConfig(image_size=16, patch_size=4, depth=1, stem=(8,), **SIZES)
    return BLIPConfig(vision=vision, text=text, embed_dim=8, **ids)


def dictionary() -> NGramDictionary:
    """N-grams of these rows."""
    return NGramDictionary.from_texts([f"{a} beside {b}" for a, b in PAIRS], min_count=1)


def prior_of(kind: str, how: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Model, step and collate of a method before CLIP, without dropout."""
    text = BertConfig(vocab_size=words().vocab_size, depth=1, memory_width=16, dropout=0.0, **SIZES)
    known, concepts = words(), tuple(COLOURS)
    if kind == "bag_of_words":
        chosen = BagOfWordsSettings(kind="bag_of_words", **how)
        special = (known.pad_id, known.cls_id, known.sep_id)
        model: Any = BagOfWords(BagOfWordsConfig(vision=VISION, vocab_size=known.vocab_size))
        return model, BagOfWordsStep(chosen, SPEC, special), AsWorded(known)
    if kind == "ngrams":
        grown = dictionary()
        model = NGrams(NGramsConfig(vision=VISION, num_ngrams=grown.vocab_size))
        return model, NGramsStep(NGramsSettings(kind="ngrams", **how), SPEC, grown.prefixes), AsNGrams(grown)
    if kind == "virtex":
        model = VirTex(VirTexConfig(vision=VISION, text=text))
        return model, VirTexStep(VirTexSettings(kind="virtex", **how), SPEC), AsWorded(known)
    if kind == "icmlm":
        model = ICMLM(ICMLMConfig(vision=VISION, text=text, num_concepts=len(concepts)))
        step = ICMLMStep(ICMLMSettings(kind="icmlm", **how), SPEC, known.mask_id)
        return model, step, AsTagged(known, concepts)
    model = ConVIRT(ConVIRTConfig(vision=VISION, text=text, embed_dim=8))
    return model, ConVIRTStep(ConVIRTSettings(kind="convirt", **how), SPEC), AsWorded(known)


PRIORS = ("bag_of_words", "ngrams", "virtex", "icmlm", "convirt")


def model_of(kind: str) -> Any:
    """A fresh model of a kind, without dropout."""
    if kind == "resnet":
        return ResNet(ResNetConfig(block="basic", depths=(1, 1), widths=(8, 16), stem="cifar", num_classes=5))
    if kind == "vit":
        return ViT(ViTConfig(image_size=16, patch_size=4, depth=2, num_classes=5, **SIZES))
    if kind == "masked_patch":
        return MaskedPatch(MaskedPatchConfig(vision=VISION))
    if kind == "clip":
        text = CLIPTextConfig(vocab_size=514, context_length=24, depth=1, **SIZES)
        return CLIP(CLIPConfig(vision=VISION, text=text, embed_dim=8))
    blip = BLIP(blip_config(words(), dropout=0.0))
    return {"blip": lambda one: one, "vqa": vqa_from, "nlvr2": nlvr2_from}[kind](blip)


def make_job(
    kind: str,
    *,
    machine: dict[str, Any] | None = None,
    objective: dict[str, Any] | None = None,
    optim: dict[str, Any] | None = None,
    **train: Any,
) -> Job:
    """The same fresh job of a kind each time, for this rank; further keywords are train settings."""
    settings = TrainSettings(**{"steps": 20, "batch_size": 8, "log_every": 5, **train})
    torch.manual_seed(settings.seed)
    how = objective or {}
    if kind in PRIORS:
        model, step, collate = prior_of(kind, how)
    else:
        model = model_of(kind)
    state: Any = start_draws(model, settings.seed)
    if kind in ("resnet", "vit"):
        chosen = ClassificationSettings(kind="classification", **how)
        step = ClassificationStep(chosen, SPEC, 5)
        collate = AsLabelled(tuple(COLOURS))
    elif kind == "masked_patch":
        step = MaskedPatchStep(MaskedPatchSettings(kind="masked_patch", **how), SPEC)
        collate = AsPictures()
    elif kind == "clip":
        step = CLIPStep(ContrastiveSettings(kind="contrastive", **how), SPEC)
        collate = AsCaptioned(letters(), 24)
    elif kind == "vqa":
        step, collate = VQAStep(VQASettings(kind="vqa", **how), SPEC), AsQuestions(words())
    elif kind == "nlvr2":
        step, collate = NLVR2Step(NLVR2Settings(kind="nlvr2", **how), SPEC), AsStatements(words())
    elif kind == "blip":
        terms = ObjectiveSettings(**{"queue_size": 16, "alpha_steps": 3, **how})
        state, step, collate = start_blip(model, terms, settings.seed), BLIPStep(terms, SPEC), Pairs(words())
    size, rank = ranks.size(), ranks.rank()
    return Job(
        model=model,
        state=state,
        step=step,
        loader=Loader(
            Mirrored() if kind == "nlvr2" else Squares(),
            collate,
            settings.batch_size // size,
            settings.seed,
            rank=rank,
            world_size=size,
        ),
        optim=OptimSettings(**(optim or {"lr": 2e-3, "warmup_steps": 2})),
        settings=settings,
        machine=MachineSettings(**(machine or {})),
    )


PLAIN = {"teacher": "none", "queue_size": 0, "qa": 0.0}
"""A BLIP that can be sharded."""


def shard_job(kind: str, **machine: Any) -> Job:
    """A job that can be sharded, with a checkpoint half way."""
    sgd = {"name": "sgd", "lr": 0.05, "warmup_steps": 2}
    adamw = {"lr": 2e-3, "eps": 1e-2, "warmup_steps": 2}
    how = {"steps": 6, "log_every": 2, "checkpoint_every": 3, "objective": PLAIN if kind == "blip" else None}
    return make_job(kind, **how, optim=sgd if kind == "resnet" else adamw, machine=machine)


def main(out: Path, *names: str) -> None:
    """Train each kind; sharded where words follow its name: `clip:shard`, `clip:shard:resume`."""
    for name in names:
        kind, *words = name.split(":")
        if words:
            job = shard_job(kind, shard=True, recompute="recompute" in words)
            train(job, out / "-".join([kind, *words]), resume="resume" in words)
        else:
            train(make_job(kind, optim={"name": "sgd", "lr": 0.05, "warmup_steps": 2}), out / kind)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with ranks.joined("cpu"):
        main(Path(sys.argv[1]), *sys.argv[2:])
