"""Ren et al. 2015, Faster R-CNN (arXiv 1506.01497), on a feature pyramid (Lin et al. 2016, arXiv 1612.03144).

Implements: a residual network of `limner.models.resnet` as the backbone of torchvision's feature pyramid,
region proposals, RoI pooling and box head; He et al. 2015 transfer their networks to detection so (section
4.3), with one map of stride 16 where the pyramid has several.
Differs: pictures are squares, prepared by the `ImageSpec` as for every other model, so nothing is resized in
here; a backbone without an ImageNet stem gives maps from stride 4 on, and coarser levels are pooled.
Checked against: torchvision's `FasterRCNN` on the same weights (same keys): detections and losses.
"""

from collections import OrderedDict
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import (
    RegionProposalNetwork,
    RPNHead,
    concat_box_prediction_layers,
)
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from limner.config import Config
from limner.models.resnet import ResNet, ResNetConfig

_FINEST = 4  # least stride of a map that is looked at


class DetectorConfig(Config):
    """Sizes of a detector.

    Args:
        backbone: the residual network; without a classifier.
        num_classes: kinds of things, the background not counted.
        pyramid_dim: channels of every level.
        coarsest: stride of the last level; levels past the backbone's last map are pooled.
        anchor_scale: side of a level's anchors, in strides; three aspects each, 1:2 to 2:1.
        box_dim: width of the box head.
        proposals: regions that the box head looks at, most; twice as many when it learns.
        anchors_learnt: anchors of a picture that the proposal loss looks at.
        regions_learnt: regions of a picture that the box loss looks at.
        detections: kept of a picture, most.
    """

    backbone: ResNetConfig
    num_classes: int = Field(default=91, ge=1)
    pyramid_dim: int = Field(default=256, ge=1)
    coarsest: int = Field(default=64, ge=4)
    anchor_scale: int = Field(default=8, ge=1)
    box_dim: int = Field(default=1024, ge=1)
    proposals: int = Field(default=1000, ge=1)
    anchors_learnt: int = Field(default=256, ge=2)
    regions_learnt: int = Field(default=512, ge=2)
    detections: int = Field(default=100, ge=1)


class DetectorOutput(NamedTuple):
    """What a detector says of pictures, before anything is sorted out.

    Args:
        objectness: logit of each anchor.
        anchor_deltas: how to move each anchor.
        boxes: proposed regions, pixels; the whole picture where there are fewer.
        box_deltas: how to move each region, for each class.
        class_logits: of each region, the background first.
    """

    objectness: Float[Tensor, "b a"]
    anchor_deltas: Float[Tensor, "b a 4"]
    boxes: Float[Tensor, "b n 4"]
    box_deltas: Float[Tensor, "b n k 4"]
    class_logits: Float[Tensor, "b n k"]


class Detections(NamedTuple):
    """What was found in one picture, the surest first.

    Args:
        boxes: x0, y0, x1, y1 in pixels of the model's square.
        scores: [0, 1].
        labels: numbers of the classes, from 0.
    """

    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]


class PyramidBackbone(nn.Module):
    """A residual network and the pyramid over its maps.

    Args:
        config: sizes of the detector.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.body = ResNet(config.backbone.model_copy(update={"num_classes": 0}))
        strides = strides_of(config.backbone)
        self.names = tuple(name for name, stride in strides.items() if stride >= _FINEST) or (
            list(strides)[-1],
        )
        self.pooled = max(0, (config.coarsest // strides[self.names[-1]]).bit_length() - 1)
        self.strides = [strides[name] for name in self.names]
        self.strides += [self.strides[-1] * 2**level for level in range(1, self.pooled + 1)]
        expansion = 4 if config.backbone.block == "bottleneck" else 1
        widths = [config.backbone.widths[int(name.removeprefix("layer")) - 1] for name in self.names]
        self.fpn = FeaturePyramidNetwork([expansion * width for width in widths], config.pyramid_dim)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> dict[str, Tensor]:
        """Levels, finest first: those of the backbone by its names, then "pool1" and so on."""
        levels: dict[str, Tensor] = self.fpn(OrderedDict(self.body.maps(pixels, self.names)))
        last = levels[self.names[-1]]
        for number in range(1, self.pooled + 1):
            last = F.max_pool2d(last, 1, 2)
            levels[f"pool{number}"] = last
        return levels


class Detector(nn.Module):
    """Faster R-CNN on a feature pyramid.

    Args:
        config: sizes.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = PyramidBackbone(config)
        anchors = AnchorGenerator(
            tuple((config.anchor_scale * stride,) for stride in self.backbone.strides),
            ((0.5, 1.0, 2.0),) * len(self.backbone.strides),
        )
        width, kept = config.pyramid_dim, config.proposals
        often = {"training": 2 * kept, "testing": kept}
        self.rpn = RegionProposalNetwork(
            anchors, RPNHead(width, 3), 0.7, 0.3, config.anchors_learnt, 0.5, often, often, 0.7
        )
        pool = MultiScaleRoIAlign(list(self.backbone.names), output_size=7, sampling_ratio=2)
        head = TwoMLPHead(width * 7 * 7, config.box_dim)
        named = FastRCNNPredictor(config.box_dim, config.num_classes + 1)
        limits = (0.05, 0.5, config.detections)  # least score, NMS, most
        self.roi_heads = RoIHeads(pool, head, named, 0.5, 0.5, config.regions_learnt, 0.25, None, *limits)

    def forward(self, pixels: Float[Tensor, "b 3 y x"]) -> DetectorOutput:
        """Read pictures.

        Args:
            pixels: `normed`.
        """
        levels, pictures = self.backbone(pixels), _listed(pixels)
        scores, moves = self.rpn.head(list(levels.values()))
        anchors = self.rpn.anchor_generator(pictures, list(levels.values()))
        per_level = [score[0].numel() for score in scores]
        objectness, deltas = concat_box_prediction_layers(scores, moves)
        decoded = self.rpn.box_coder.decode(deltas.detach(), anchors).view(len(pixels), -1, 4)
        found, _ = self.rpn.filter_proposals(decoded, objectness, pictures.image_sizes, per_level)
        boxes = torch.stack([self._filled(own[: self.config.proposals], pixels) for own in found])
        read = self.roi_heads.box_head(self.roi_heads.box_roi_pool(levels, list(boxes), pictures.image_sizes))
        logits, box_deltas = self.roi_heads.box_predictor(read)
        b, n = boxes.shape[:2]
        return DetectorOutput(
            objectness.view(b, -1),
            deltas.view(b, -1, 4),
            boxes,
            box_deltas.view(b, n, -1, 4),
            logits.view(b, n, -1),
        )

    def _filled(self, boxes: Float[Tensor, "n 4"], pixels: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "m 4"]:
        """Proposals of one picture, filled up to their greatest number."""
        height, width = pixels.shape[-2:]
        whole = boxes.new_tensor([0, 0, width, height]).expand(self.config.proposals - len(boxes), 4)
        return torch.cat([boxes, whole])

    def losses(
        self, pixels: Float[Tensor, "b 3 y x"], boxes: Float[Tensor, "b n 4"], labels: Int[Tensor, "b n"]
    ) -> dict[str, Tensor]:
        """The four losses of Faster R-CNN; which anchors and regions count is drawn from torch's generator.

        Args:
            pixels: `normed`.
            boxes: true ones, pixels, filled up to the most of a picture.
            labels: numbers of the classes from 0; -1 where a row is filled up.
        Returns: "rpn" (object or not), "rpn_box", "cls", "box".
        Source: equation 1 of Ren et al.; equation 1 of Girshick 2015 (arXiv 1504.08083).
        """
        targets = [
            {"boxes": own[named >= 0], "labels": named[named >= 0] + 1}
            for own, named in zip(boxes, labels, strict=True)
        ]
        levels, pictures = self.backbone(pixels), _listed(pixels)
        proposals, first = self.rpn(pictures, levels, targets)
        _, second = self.roi_heads(levels, proposals, pictures.image_sizes, targets)
        return {ours: (first | second)[theirs] for ours, theirs in _LOSSES.items()}

    @torch.no_grad()
    def detect(self, pixels: Float[Tensor, "b 3 y x"]) -> list[Detections]:
        """Things in pictures, one list a picture; the model is in eval mode.

        Args:
            pixels: `normed`.
        """
        levels, pictures = self.backbone(pixels), _listed(pixels)
        proposals, _ = self.rpn(pictures, levels)
        found, _ = self.roi_heads(levels, proposals, pictures.image_sizes)
        return [Detections(one["boxes"], one["scores"], one["labels"] - 1) for one in found]


_LOSSES = {
    "rpn": "loss_objectness",
    "rpn_box": "loss_rpn_box_reg",
    "cls": "loss_classifier",
    "box": "loss_box_reg",
}


def _listed(pixels: Float[Tensor, "b 3 y x"]) -> ImageList:
    """Pictures as torchvision's detectors hand them about."""
    height, width = pixels.shape[-2:]
    return ImageList(pixels, [(height, width)] * len(pixels))


def strides_of(config: ResNetConfig) -> dict[str, int]:
    """Pixels of the picture from one place of a stage's map to the next, by the stage's name."""
    first = 4 if config.stem == "imagenet" else 1
    return {f"layer{number + 1}": first * 2**number for number in range(len(config.depths))}


def detector_on(body: ResNet, config: DetectorConfig) -> Detector:
    """A fresh detector whose backbone has the weights of a residual network; its classifier is left out.

    Args:
        body: trained on whatever; left as it is.
        config: sizes; `backbone` is taken from the body.
    """
    backbone = body.config.model_copy(update={"num_classes": 0})
    made = Detector(config.model_copy(update={"backbone": backbone}))
    weights = {name: value for name, value in body.state_dict().items() if not name.startswith("fc.")}
    made.backbone.body.load_state_dict(weights)
    return made


def new_classes(model: Detector, num_classes: int) -> Detector:
    """Give a detector a fresh last layer for other classes, in place.

    Args:
        model: everything else of it stays.
        num_classes: the background not counted.
    """
    model.config = model.config.model_copy(update={"num_classes": num_classes})
    like = model.roi_heads.box_predictor.cls_score.weight
    model.roi_heads.box_predictor = FastRCNNPredictor(model.config.box_dim, num_classes + 1).to(like)
    return model
