"""Faster R-CNN on limner's ResNets against torchvision's own, on the same weights."""

import copy

import pytest
import torch
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from limner.models import build, entry
from limner.models.detector import Detector, DetectorConfig, detector_on, new_classes, strides_of
from limner.models.resnet import ResNet, ResNetConfig
from limner.models.resnet_variants import VARIANTS

SIDE = 64
BODY = VARIANTS["resnet18"].config.model_copy(update={"num_classes": 0})
CONFIG = DetectorConfig(
    backbone=BODY, num_classes=2, anchor_scale=4, box_dim=32, pyramid_dim=32, proposals=40
)


def torchvisions(ours: Detector) -> FasterRCNN:
    body = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=torch.nn.BatchNorm2d, trainable_layers=5
    )
    body.fpn = copy.deepcopy(ours.backbone.fpn)  # of 32 channels
    body.fpn.extra_blocks, body.out_channels = LastLevelMaxPool(), 32
    model = FasterRCNN(
        body,
        num_classes=None,
        min_size=SIDE,
        max_size=SIDE,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        rpn_anchor_generator=AnchorGenerator(
            tuple((4 * s,) for s in (4, 8, 16, 32, 64)), ((0.5, 1.0, 2.0),) * 5
        ),
        rpn_pre_nms_top_n_train=80,
        rpn_post_nms_top_n_train=80,
        rpn_pre_nms_top_n_test=40,
        rpn_post_nms_top_n_test=40,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2),
        box_head=copy.deepcopy(ours.roi_heads.box_head),
        box_predictor=copy.deepcopy(ours.roi_heads.box_predictor),
    )
    model.load_state_dict(ours.state_dict())
    return model


@pytest.fixture(scope="module")
def pair() -> tuple[Detector, FasterRCNN]:
    torch.manual_seed(0)
    ours = Detector(CONFIG)
    with torch.no_grad():  # so that scores differ and boxes move
        ours.roi_heads.box_predictor.cls_score.weight.mul_(40)
        ours.rpn.head.cls_logits.weight.mul_(40)
    return ours, torchvisions(ours)


def test_it_finds_what_torchvision_finds(pair: tuple[Detector, FasterRCNN]) -> None:
    ours, theirs = (model.eval() for model in pair)
    pixels = torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        wanted = theirs(list(pixels))
    found = ours.detect(pixels)
    assert sum(len(one.labels) for one in found) > 5
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.boxes, other["boxes"])
        torch.testing.assert_close(mine.scores, other["scores"])
        assert torch.equal(mine.labels + 1, other["labels"])


def test_its_losses_are_torchvisions(pair: tuple[Detector, FasterRCNN]) -> None:
    ours, theirs = (model.train() for model in pair)
    ours.backbone.eval()
    theirs.backbone.eval()
    pixels = torch.rand(2, 3, SIDE, SIDE)
    boxes = torch.tensor([[[4.0, 4, 30, 40], [20, 10, 60, 50]], [[8, 8, 40, 40], [0, 0, 0, 0]]])
    labels = torch.tensor([[0, 1], [1, -1]])
    torch.manual_seed(3)
    torch.empty(1).uniform_(), torch.empty(1).uniform_()  # torchvision draws the size of each picture
    mine = ours.losses(pixels, boxes, labels)
    targets = [
        {"boxes": boxes[0], "labels": labels[0] + 1},
        {"boxes": boxes[1, :1], "labels": labels[1, :1] + 1},
    ]
    torch.manual_seed(3)
    wanted = theirs(list(pixels), targets)
    names = {"rpn": "loss_objectness", "rpn_box": "loss_rpn_box_reg", "cls": "loss_classifier"}
    for name, other in (names | {"box": "loss_box_reg"}).items():
        torch.testing.assert_close(mine[name], wanted[other])
        assert mine[name] > 0


def test_a_picture_without_a_thing_teaches_what_is_none(pair: tuple[Detector, FasterRCNN]) -> None:
    ours = pair[0].train()
    ours.backbone.eval()
    terms = ours.losses(
        torch.rand(1, 3, SIDE, SIDE), torch.zeros(1, 0, 4), torch.zeros(1, 0, dtype=torch.int64)
    )
    assert terms["rpn"] > 0
    assert terms["cls"] > 0
    assert terms["box"] == 0


def test_a_backbone_keeps_its_weights_and_leaves_its_classifier() -> None:
    body = ResNet(ResNetConfig(block="basic", depths=(1, 1), widths=(8, 16), stem="cifar", num_classes=5))
    made = detector_on(body, CONFIG.model_copy(update={"pyramid_dim": 8}))
    assert made.backbone.body.fc is None
    assert torch.equal(made.backbone.body.layer2[0].conv1.weight, body.layer2[0].conv1.weight)
    assert strides_of(body.config) == {"layer1": 1, "layer2": 2}
    assert made.backbone.names == ("layer2",)  # nothing is coarse enough: the last
    assert made.backbone.strides == [2, 4, 8, 16, 32, 64]
    levels = made.backbone(torch.rand(1, 3, 32, 32))
    assert [level.shape[-1] for level in levels.values()] == [16, 8, 4, 2, 1, 1]


def test_new_classes_keep_all_but_the_last_layer() -> None:
    model = Detector(CONFIG)
    head = model.roi_heads.box_head.fc6.weight.clone()
    same = new_classes(model, 7)
    assert same.config.num_classes == 7
    assert same.roi_heads.box_predictor.cls_score.out_features == 8
    assert same.roi_heads.box_predictor.bbox_pred.out_features == 32
    assert torch.equal(same.roi_heads.box_head.fc6.weight, head)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["faster_rcnn_resnet18_fpn", "faster_rcnn_resnet50_fpn"])
def test_named_detectors_read_pictures_of_their_spec(name: str) -> None:
    model, size = build(name).eval(), entry(name).image_spec.size
    with torch.no_grad():
        output = model(torch.rand(1, 3, size, size))
    config = model.config
    assert output.class_logits.shape == (1, config.proposals, config.num_classes + 1)
