"""What public checkpoints are known to score, as commands of `limner evaluate` with a tolerance.

The scores of weight files are those of `convert/public.py`; here stand those of further tables of the papers,
the names that the same weights have on the hub, and what each set must look like.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from limner.checkpoint.files import sha256
from limner.convert.public import PUBLIC, Expected, PublicFile
from limner.errors import CheckpointError

EVERY: Final = "all"
"""The name that stands for all public files."""


class Protocol(NamedTuple):
    """How a kind of claim is measured.

    Args:
        pattern: of the claim's measure.
        task: key of `TASKS`.
        settings: of the task.
        measure: of the outcome.
        tolerance: points that a repetition may differ by.
    """

    pattern: str
    task: str
    settings: tuple[str, ...]
    measure: str
    tolerance: float


_COCO_K, _FLICKR_K = ("top_k=256",), ("top_k=128",)
PROTOCOLS: Final = (
    Protocol(
        r"ImageNet zero-shot top-1", "zeroshot", ("templates=imagenet", "names=imagenet.csv"), "top1", 0.1
    ),
    Protocol(r"CIFAR-10 test zero-shot top-1", "zeroshot", ("templates=cifar10",), "top1", 0.2),
    Protocol(r"CIFAR-10 test linear probe", "probe", (), "top1", 0.2),
    Protocol(r"(ImageNet|CIFAR-10 test) top-1", "classification", (), "top1", 0.1),
    Protocol(r"COCO 5K test text retrieval R@1 \(fine", "retrieval", _COCO_K, "i2t_r1", 0.5),
    Protocol(r"COCO 5K test image retrieval R@1 \(fine", "retrieval", _COCO_K, "t2i_r1", 0.5),
    Protocol(r"Flickr30K 1K test text retrieval R@1 \(fine", "retrieval", _FLICKR_K, "i2t_r1", 0.5),
    Protocol(r"Flickr30K 1K test image retrieval R@1 \(fine", "retrieval", _FLICKR_K, "t2i_r1", 0.5),
    Protocol(r".* text retrieval R@1 \(zero", "retrieval", (), "i2t_r1", 0.5),
    Protocol(r".* image retrieval R@1 \(zero", "retrieval", (), "t2i_r1", 0.5),
    Protocol(r"COCO Karpathy test CIDEr", "captioning", (), "cider_d", 1.0),
    Protocol(r"VQA test-dev", "vqa", (), "vqa_accuracy", 0.3),
    Protocol(r"NLVR2 test-P", "reasoning", (), "accuracy", 0.3),
)

_HUB: Final = {
    "hub:openai/clip-vit-base-patch32": "openai:ViT-B/32",
    "hub:openai/clip-vit-base-patch16": "openai:ViT-B/16",
    "hub:openai/clip-vit-large-patch14": "openai:ViT-L/14",
    "hub:openai/clip-vit-large-patch14-336": "openai:ViT-L/14@336px",
    "hub:Salesforce/blip-itm-base-coco": "salesforce:model_base_retrieval_coco",
    "hub:Salesforce/blip-itm-large-coco": "salesforce:model_large_retrieval_coco",
    "hub:Salesforce/blip-itm-base-flickr": "salesforce:model_base_retrieval_flickr",
    "hub:Salesforce/blip-itm-large-flickr": "salesforce:model_large_retrieval_flickr",
    "hub:Salesforce/blip-image-captioning-base": "salesforce:model_base_caption_capfilt_large",
    "hub:Salesforce/blip-image-captioning-large": "salesforce:model_large_caption",
    "hub:Salesforce/blip-vqa-base": "salesforce:model_vqa",
    "hub:Salesforce/blip-vqa-capfilt-large": "salesforce:model_base_vqa_capfilt_large",
    "hub:google/vit-base-patch16-384": "google:imagenet21k+imagenet2012/ViT-B_16",
    "hub:google/vit-base-patch32-384": "google:imagenet21k+imagenet2012/ViT-B_32",
    "hub:google/vit-large-patch16-384": "google:imagenet21k+imagenet2012/ViT-L_16",
    "hub:google/vit-large-patch32-384": "google:imagenet21k+imagenet2012/ViT-L_32",
    "hub:timm/resnet18.tv_in1k": "torchvision:resnet18.v1",
    "hub:timm/resnet34.tv_in1k": "torchvision:resnet34.v1",
    "hub:timm/resnet50.tv_in1k": "torchvision:resnet50.v1",
    "hub:timm/resnet101.tv_in1k": "torchvision:resnet101.v1",
    "hub:timm/resnet152.tv_in1k": "torchvision:resnet152.v1",
    "hub:timm/resnet50.tv2_in1k": "torchvision:resnet50.v2",
}

_CIFAR = {
    "RN50": 75.6, "RN101": 81.0, "RN50x4": 79.2, "RN50x16": 82.2, "RN50x64": 86.8, "ViT-B/32": 91.3,
    "ViT-B/16": 91.6, "ViT-L/14": 96.2, "ViT-L/14@336px": 95.7,
}  # fmt: skip
_RETRIEVAL = {  # COCO and Flickr30K, text then image
    "openai:ViT-B/32": ((50.12, 30.44, 78.9, 58.78), "open_clip"),
    "openai:ViT-L/14@336px": ((57.94, 37.09, 87.7, 66.9), "open_clip"),
}
_FINE_IMAGE = {
    "salesforce:model_base_retrieval_coco": ("COCO 5K", 64.3),
    "salesforce:model_large_retrieval_coco": ("COCO 5K", 65.1),
    "salesforce:model_base_retrieval_flickr": ("Flickr30K 1K", 87.3),
    "salesforce:model_large_retrieval_flickr": ("Flickr30K 1K", 87.6),
}


def _more() -> Iterator[tuple[str, Expected]]:
    """Scores of further tables: name of the file, score."""
    for tag, value in _CIFAR.items():
        prompts = "18 prompts, mean of unit embeddings"
        yield f"openai:{tag}", Expected("CIFAR-10 test zero-shot top-1", value, prompts, "CLIP, Table 11")
    yield (
        "openai:ViT-L/14@336px",
        Expected("CIFAR-10 test linear probe", 97.9, "L-BFGS, C swept on validation", "CLIP, Table 10"),
    )
    for name, (values, source) in _RETRIEVAL.items():
        places = [(data, way) for data in ("COCO 5K", "Flickr30K 1K") for way in ("text", "image")]
        for (data, way), value in zip(places, values, strict=True):
            yield name, Expected(f"{data} test {way} retrieval R@1 (zero-shot)", value, "no prefix", source)
    for name, (data, value) in _FINE_IMAGE.items():
        protocol = "fine-tuned; re-ranked by ITM"
        yield (
            name,
            Expected(f"{data} test image retrieval R@1 (fine-tuned)", value, protocol, "BLIP, Table 5"),
        )


class Claim(NamedTuple):
    """A score that a checkpoint is known to reach, and how to measure it here.

    Args:
        model: as it was named.
        file: of `PUBLIC`.
        expected: the score.
        protocol: how it is measured.
    """

    model: str
    file: PublicFile
    expected: Expected
    protocol: Protocol

    @property
    def command(self) -> str:
        """What to type."""
        settings = "".join(f" --set {setting}" for setting in self.protocol.settings)
        return f"limner evaluate {self.protocol.task} --model {self.model} --data TABLE{settings}"

    def values(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.model,
            "file": self.file.name,
            "measure": self.expected.measure,
            "expected": self.expected.value,
            "tolerance": self.protocol.tolerance,
            "protocol": self.expected.protocol,
            "source": self.expected.source,
            "command": self.command,
        }


def claims_of(name: str) -> list[Claim]:
    """What a checkpoint is known to score.

    Args:
        name: a public name, a name of the hub, a weight file that is one of the public ones, or "all".
    Raises: CheckpointError when nothing is known of it.
    """
    files = list(PUBLIC.values()) if name == EVERY else [_file_of(name)]
    more = list(_more())
    found = []
    for file in files:
        known = [*map(_named, file.expected), *(score for of, score in more if of == file.name)]
        model = file.name if name == EVERY else name
        found += [Claim(model, file, score, _protocol(score)) for score in known]
    if not found:
        raise CheckpointError(
            f"nobody printed a score of {name}",
            wanted="a checkpoint with a published number",
            hint="limner evaluate paper --model all",
        )
    return found


def _file_of(name: str) -> PublicFile:
    """Raises: CheckpointError when it is no public file."""
    known = PUBLIC.get(_HUB.get(name, name))
    if known is None and Path(name).is_file():
        digest = sha256(Path(name))
        known = next(
            (file for file in PUBLIC.values() if file.sha256 and digest.startswith(file.sha256)), None
        )
    if known is None:
        raise CheckpointError(
            f"no published score of {name} is known here",
            wanted="a public file, or its name on the hub",
            hint="limner evaluate paper --model all lists them",
        )
    return known


def _named(score: Expected) -> Expected:
    """Retrieval by a fine-tuned model is told from zero-shot."""
    if "retrieval R@1" in score.measure:
        return score._replace(measure=f"{score.measure} (fine-tuned)")
    return score


def _protocol(score: Expected) -> Protocol:
    return next(protocol for protocol in PROTOCOLS if re.match(protocol.pattern, score.measure))
