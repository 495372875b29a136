"""The named detectors, with how pictures are prepared for them."""

from typing import Final

from limner.models.detector import Detector, DetectorConfig
from limner.models.entry import ModelEntry
from limner.models.resnet_variants import VARIANTS as RESNETS
from limner.shapes import IMAGENET_MEAN, IMAGENET_STD, ImageSpec

_REN: Final = "Ren et al. 2015 (Faster R-CNN); Lin et al. 2016 (FPN)"


def _spec(size: int) -> ImageSpec:
    return ImageSpec(size=size, mean=IMAGENET_MEAN, std=IMAGENET_STD, resampling="bilinear", crop="pad")


def _on(backbone: str, size: int, **sizes: int) -> ModelEntry:
    body = RESNETS[backbone].config.model_copy(update={"num_classes": 0})
    config = DetectorConfig.model_validate({"backbone": body} | sizes)
    return ModelEntry(config, Detector, _spec(size), _REN)


VARIANTS: dict[str, ModelEntry] = {
    "faster_rcnn_resnet18_fpn": _on("resnet18", 512, num_classes=80),
    "faster_rcnn_resnet50_fpn": _on("resnet50", 800, num_classes=90),
    "faster_rcnn_small": _on(
        "cifar_resnet20",
        96,
        num_classes=20,
        pyramid_dim=64,
        coarsest=16,
        box_dim=128,
        proposals=100,
        anchors_learnt=128,
        regions_learnt=64,
    ),
}
