"""Public weight files by short name: where each is, its hash, its model, and what it is known to score.

    openai:ViT-B/32   salesforce:model_base_caption_capfilt_large   google:imagenet21k/ViT-B_16
    akamaster:resnet20   torchvision:resnet50.v2   google:augreg/<name of the file>

A hash is the whole SHA-256 or its first 8 digits, as its publisher gives it; "" when there is none. Scores
are those the sources print for this very file; a file that nobody scored has none.
"""

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

from limner.errors import CheckpointError


class Expected(NamedTuple):
    """A score that a file is known to reach.

    Args:
        measure: what is measured, on which set.
        value: per cent, or CIDEr points.
        protocol: how, as far as it changes the number.
        source: who printed it.
    """

    measure: str
    value: float
    protocol: str
    source: str


class PublicFile(NamedTuple):
    """A weight file that anyone may download.

    Args:
        name: short name, dialect first.
        url: where it is.
        sha256: 64 or 8 hex digits, or "".
        model: the name of its architecture in `limner.models.MODELS`; the number of classes may differ.
        expected: scores.
    """

    name: str
    url: str
    sha256: str
    model: str
    expected: tuple[Expected, ...] = ()


def find(name: str) -> PublicFile | None:
    """The file of a short name; None when it is no such name at all.

    Raises: CheckpointError that lists the nearest when the dialect is known and the file is not.
    """
    if name in PUBLIC:
        return PUBLIC[name]
    family = name.partition(":")[0]
    if family not in {known.partition(":")[0] for known in PUBLIC}:
        return None
    if match := _AUGREG.fullmatch(name):
        return _augreg(match)
    inside = [known for known in PUBLIC if known.startswith(f"{family}:")]
    close = difflib.get_close_matches(name, inside, n=3, cutoff=0.3) or inside[:3]
    raise CheckpointError(
        f"{name!r} is no file of {family} that is known here",
        wanted=f"one of its {len(inside)}",
        hint=" or ".join(close),
    )


_OPENAI = "https://openaipublic.azureedge.net/clip/models"
_SALESFORCE = "https://storage.googleapis.com/sfr-vision-language-research/BLIP/models"
_GOOGLE = "https://storage.googleapis.com/vit_models"
_AKAMASTER = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models"
_TORCHVISION = "https://download.pytorch.org/models"

_AUGREG = re.compile(
    r"google:augreg/(?P<stem>(?P<size>Ti|S|B|L|R|R26|R50)(?P<hybrid>_Ti|_S|_L)?_(?P<patch>8|16|32)-"
    r"(?:i1k|i21k|i21ks)-\d+ep-[\w.-]*?(?:--imagenet2012-steps_\d+k-lr_[\d.]+-res_(?P<side>\d+))?)(?:\.npz)?"
)
_AUGREG_SIZES = {"Ti": "ti", "S": "s", "B": "b", "L": "l", "R_Ti": "r_ti", "R26_S": "r26_s", "R50_L": "r50_l"}


def _augreg(match: re.Match[str]) -> PublicFile | None:
    """Any file of the AugReg study: its name says what it is of."""
    size = _AUGREG_SIZES.get(match["size"] + (match["hybrid"] or ""))
    if size is None:
        return None
    side = "_384" if match["side"] == "384" else ""
    model = f"vit_{size}{match['patch']}{side}"
    return PublicFile(f"google:augreg/{match['stem']}", f"{_GOOGLE}/augreg/{match['stem']}.npz", "", model)


def _openai() -> Iterable[PublicFile]:
    rows = (
        ("RN50", "clip_rn50", 59.82, "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"),
        ("RN101", "clip_rn101", 62.28, "8fa8567bab74a42d41c5915025a8e4538c3bdbe8804a470a72f30b0d94fab599"),
        ("RN50x4", "clip_rn50x4", 66.27, "7e526bd135e493cef0776de27d5f42653e6b4c8bf9e0f653bb11773263205fdd"),
        (
            "RN50x16",
            "clip_rn50x16",
            70.72,
            "52378b407f34354e150460fe41077663dd5b39c54cd0bfd2b27167a4a06ec9aa",
        ),
        (
            "RN50x64",
            "clip_rn50x64",
            73.91,
            "be1cfb55d75a9666199fb2206c106743da0f6468c9d327f3e0d0a543a9919d9c",
        ),
        (
            "ViT-B/32",
            "clip_vit_b32",
            63.32,
            "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        ),
        (
            "ViT-B/16",
            "clip_vit_b16",
            68.34,
            "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
        ),
        (
            "ViT-L/14",
            "clip_vit_l14",
            75.54,
            "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
        ),
        (
            "ViT-L/14@336px",
            "clip_vit_l14_336",
            76.56,
            "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
        ),
    )
    for tag, model, accuracy, digest in rows:
        file = re.sub("[/@]", "-", tag) + ".pt"
        score = Expected(
            "ImageNet zero-shot top-1", accuracy, "80 prompts, mean of unit embeddings", "open_clip"
        )
        yield PublicFile(f"openai:{tag}", f"{_OPENAI}/{digest}/{file}", digest, model, (score,))


def _salesforce() -> Iterable[PublicFile]:
    coco = "COCO 5K test text retrieval R@1"
    flickr = "Flickr30K 1K test text retrieval R@1"
    captions = "COCO Karpathy test CIDEr"
    fine = "fine-tuned; re-ranked by ITM (k = 256 on COCO, 128 on Flickr30K)"
    beam = "beam 3, prompt 'a picture of '"
    rows: tuple[tuple[str, str, tuple[tuple[str, float, str, str], ...]], ...] = (
        ("model_base_14M", "blip_base", ()),
        ("model_base", "blip_base", ()),
        ("model_base_capfilt_large", "blip_base", ()),
        ("model_large", "blip_large", ()),
        ("model_base_retrieval_coco", "blip_base_retrieval", ((coco, 81.9, fine, "BLIP, Table 5"),)),
        ("model_large_retrieval_coco", "blip_large_retrieval", ((coco, 82.4, fine, "BLIP, Table 5"),)),
        ("model_base_retrieval_flickr", "blip_base_retrieval", ((flickr, 97.3, fine, "BLIP, Table 5"),)),
        ("model_large_retrieval_flickr", "blip_large_retrieval", ((flickr, 97.4, fine, "BLIP, Table 5"),)),
        (
            "model_base_caption_capfilt_large",
            "blip_base_caption",
            ((captions, 133.3, beam, "BLIP, Table 7"),),
        ),
        ("model_large_caption", "blip_large_caption", ((captions, 136.7, beam, "BLIP, Table 7"),)),
        ("model_vqa", "blip_base_vqa", (("VQA test-dev", 78.24, "480 px", "BLIP, Table 8"),)),
        (
            "model_base_vqa_capfilt_large",
            "blip_base_vqa",
            (("VQA test-dev", 78.25, "480 px", "BLIP, Table 8"),),
        ),
        ("model_base_nlvr", "blip_base_nlvr2", (("NLVR2 test-P", 83.08, "384 px", "BLIP, Table 8"),)),
    )
    for tag, model, scores in rows:
        expected = tuple(Expected(*score) for score in scores)
        yield PublicFile(f"salesforce:{tag}", f"{_SALESFORCE}/{tag}.pth", "", model, expected)


def _google() -> Iterable[PublicFile]:
    rows = (
        ("ViT-B_16", "vit_b16", 83.97),
        ("ViT-B_32", "vit_b32", 81.28),
        ("ViT-L_16", "vit_l16", 85.15),
        ("ViT-L_32", "vit_l32", 80.99),
        ("R50+ViT-B_16", "vit_r50_b16", None),
        ("ViT-H_14", "vit_h14", None),
    )
    for tag, model, accuracy in rows:
        file = tag.replace("+", "%2B") + ".npz"
        yield PublicFile(f"google:imagenet21k/{tag}", f"{_GOOGLE}/imagenet21k/{file}", "", model)
        if model == "vit_h14":
            continue  # its fine-tuned file was never released
        score = Expected("ImageNet top-1", accuracy, "384 px", "ViT, Table 5") if accuracy else None
        yield PublicFile(
            f"google:imagenet21k+imagenet2012/{tag}",
            f"{_GOOGLE}/imagenet21k%2Bimagenet2012/{file}",
            "",
            f"{model}_384",
            (score,) if score else (),
        )
    for tag, model, accuracy in (("ViT-B_16-224", "vit_b16", 81.2), ("ViT-L_16-224", "vit_l16", 82.7)):
        yield PublicFile(
            f"google:imagenet21k+imagenet2012/{tag}",
            f"{_GOOGLE}/imagenet21k%2Bimagenet2012/{tag}.npz",
            "",
            model,
            (Expected("ImageNet top-1", accuracy, "224 px", "google-research/vision_transformer"),),
        )
    for stem in _AUGREG_FILES:
        if (match := _AUGREG.fullmatch(f"google:augreg/{stem}")) and (found := _augreg(match)):
            yield found


_I21K, _TUNED = "i21k-300ep-lr_0.001", "--imagenet2012-steps_20k-lr"
_AUGREG_FILES = tuple(
    f"{size}-{_I21K}-{kind}{_TUNED}_{rate}-res_{side}"
    for size, kind, rate, sides in (
        ("Ti_16", "aug_none-wd_0.03-do_0.0-sd_0.0", "0.03", (224, 384)),
        ("S_32", "aug_light1-wd_0.03-do_0.0-sd_0.0", "0.03", (224, 384)),
        ("S_16", "aug_light1-wd_0.03-do_0.0-sd_0.0", "0.03", (224, 384)),
        ("B_32", "aug_medium1-wd_0.03-do_0.0-sd_0.0", "0.03", (224,)),
        ("B_32", "aug_light1-wd_0.1-do_0.0-sd_0.0", "0.03", (384,)),
        ("B_16", "aug_medium1-wd_0.1-do_0.0-sd_0.0", "0.01", (224, 384)),
        ("B_8", "aug_medium1-wd_0.1-do_0.0-sd_0.0", "0.01", (224,)),
        ("L_16", "aug_medium1-wd_0.1-do_0.1-sd_0.1", "0.01", (224, 384)),
        ("R_Ti_16", "aug_none-wd_0.03-do_0.0-sd_0.0", "0.03", (224, 384)),
        ("R26_S_32", "aug_light0-wd_0.03-do_0.1-sd_0.1", "0.03", (224,)),
        ("R26_S_32", "aug_medium2-wd_0.03-do_0.0-sd_0.0", "0.03", (384,)),
        ("R50_L_32", "aug_medium1-wd_0.1-do_0.1-sd_0.1", "0.01", (224,)),
        ("R50_L_32", "aug_medium2-wd_0.1-do_0.0-sd_0.0", "0.01", (384,)),
    )
    for side in sides
)


def _akamaster() -> Iterable[PublicFile]:
    rows = (
        (20, "12fca82f", 91.73),
        (32, "d509ac18", 92.63),
        (44, "014dd654", 93.10),
        (56, "4bfd9763", 93.39),
        (110, "1d1ed7c2", 93.68),
        (1202, "f3b1deed", 93.82),
    )
    for depth, digest, accuracy in rows:
        score = Expected(
            "CIFAR-10 test top-1", accuracy, "one view, ImageNet's mean and deviation", "akamaster"
        )
        url = f"{_AKAMASTER}/resnet{depth}-{digest}.th"
        yield PublicFile(f"akamaster:resnet{depth}", url, digest, f"cifar_resnet{depth}", (score,))


def _torchvision() -> Iterable[PublicFile]:
    rows = (
        ("resnet18", "f37072fd", 69.758, "", 0.0),
        ("resnet34", "b627a593", 73.314, "", 0.0),
        ("resnet50", "0676ba61", 76.130, "11ad3fa6", 80.858),
        ("resnet101", "63fe2227", 77.374, "cd907fc2", 81.886),
        ("resnet152", "394f9c45", 78.312, "f82ba261", 82.284),
        ("resnext50_32x4d", "7cdf4587", 77.618, "1a0047aa", 81.198),
        ("resnext101_32x8d", "8ba56ff5", 79.312, "110c445d", 82.834),
        ("resnext101_64x4d", "173b62eb", 83.246, "", 0.0),
        ("wide_resnet50_2", "95faca4d", 78.468, "9ba9bcbe", 81.602),
        ("wide_resnet101_2", "32ee1156", 78.848, "d733dc28", 82.510),
    )
    for model, first, first_score, second, second_score in rows:
        weights = (("v1", first, first_score), ("v2", second, second_score))
        for tag, digest, accuracy in weights[: 2 if second else 1]:
            short_side = 256 if tag == "v1" and model != "resnext101_64x4d" else 232
            protocol = f"short side {short_side}, centre 224, one view"
            score = Expected("ImageNet top-1", accuracy, protocol, "torchvision")
            url = f"{_TORCHVISION}/{model}-{digest}.pth"
            yield PublicFile(f"torchvision:{model}.{tag}", url, digest, model, (score,))


PUBLIC: dict[str, PublicFile] = {
    file.name: file
    for family in (_openai, _salesforce, _google, _akamaster, _torchvision)
    for file in family()
}
"""All by name."""
