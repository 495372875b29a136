"""Views averaged at once equal views one by one, and places of a map one by one."""

import numpy as np
import torch
from PIL import Image

from limner.data.transforms import multi_scale, ten_crop
from limner.evaluate.pictures import normed
from limner.evaluate.views import crops_probability, scales_probability
from limner.models.resnet import ResNet, ResNetConfig
from limner.shapes import ImageSpec

SPEC = ImageSpec(size=32, crop="center")
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 61, 3), np.uint8))


def model() -> ResNet:
    torch.manual_seed(0)
    return ResNet(
        ResNetConfig(block="basic", depths=(1, 1), widths=(4, 8), num_classes=5, stem="cifar")
    ).eval()


@torch.no_grad()
def test_ten_crops_are_averaged_as_probabilities() -> None:
    net, crops = model(), ten_crop(PICTURE, SPEC)
    device = torch.device("cpu")
    each = [net(normed([crop], SPEC, device)).logits.softmax(1)[0].numpy() for crop in crops]
    np.testing.assert_allclose(crops_probability(net, crops, SPEC), np.mean(each, 0), rtol=1e-5)


@torch.no_grad()
def test_the_fully_convolutional_test_averages_places_then_scales_and_mirrors() -> None:
    net, scales = model(), multi_scale(PICTURE, SPEC, (32, 48))
    found = []
    for whole in scales:
        for side in (whole, whole[:, ::-1].copy()):
            places = net(normed([side], SPEC, torch.device("cpu"))).features[0].flatten(1).T
            scores = torch.stack([net.fc.weight @ place + net.fc.bias for place in places]).mean(0)
            found.append(scores.softmax(0).numpy())
    np.testing.assert_allclose(scales_probability(net, scales, SPEC), np.mean(found, 0), rtol=1e-4)
