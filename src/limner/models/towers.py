"""Towers of the methods before CLIP: a ResNet or a ViT that gives tokens and one vector, a text tower alone.

Each method reads the same encoders, so that what is compared is what they learn from.
"""

from typing import Final, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from limner.models.bert import Bert, BertConfig
from limner.models.entry import ModelEntry
from limner.models.resnet import BLOCKS, ResNet, ResNetConfig
from limner.models.resnet_variants import VARIANTS as RESNETS
from limner.models.vit import ViT
from limner.models.vit_config import ViTConfig
from limner.models.vit_variants import VARIANTS as VITS

EncoderConfig = ViTConfig | ResNetConfig
Encoder = ViT | ResNet

_BACKBONES: Final[dict[str, ModelEntry]] = {**RESNETS, **VITS}


class Seen(NamedTuple):
    """What an encoder sees in pictures.

    Args:
        tokens: of a ViT, the class token where there is one first; the cells of a ResNet's last map.
        pooled: one vector a picture.
    """

    tokens: Float[Tensor, "b n d"]
    pooled: Float[Tensor, "b d"]


def encoder_of(config: EncoderConfig) -> Encoder:
    """Make an image encoder with fresh weights."""
    return ViT(config) if isinstance(config, ViTConfig) else ResNet(config)


def width_of(config: EncoderConfig) -> int:
    """Width of the tokens and of the pooled vector."""
    if isinstance(config, ViTConfig):
        return config.width
    return config.widths[-1] * BLOCKS[config.block].expansion


def require_headless(config: EncoderConfig) -> None:
    """Check that nothing stands behind the tokens that a caption would not train.

    Raises: ValueError when something does.
    """
    beyond = isinstance(config, ViTConfig) and (
        config.representation_dim or config.distilled or config.pool == "gap_norm"
    )
    if config.num_classes or beyond:
        raise ValueError(
            "vision: wanted num_classes=0, and of a ViT representation_dim=0, distilled=False and "
            'pool="token" or "gap"; the caption trains the encoder alone'
        )


def see(vision: Encoder, pixels: Float[Tensor, "b 3 y x"]) -> Seen:
    """Look at pictures.

    Args:
        vision: of `encoder_of`.
        pixels: `normed`, of the encoder's size.
    """
    if isinstance(vision, ViT):
        read = vision(pixels)
        return Seen(read.tokens, read.pooled)
    cells = vision.features(pixels).flatten(2).transpose(1, 2)
    return Seen(cells, cells.mean(1))


def text_tower(config: BertConfig) -> Bert:
    """Make a text transformer that reads texts alone: a `Bert` without its cross-attentions."""
    tower = Bert(config)
    tower.cross_attention = nn.ModuleList(nn.Identity() for _ in range(config.depth))
    return tower


def backbone(name: str) -> tuple[EncoderConfig, ModelEntry]:
    """A named ResNet or ViT without its classifier, and the line it is from."""
    line = _BACKBONES[name]
    config = type(line.config).model_validate(line.config.model_dump() | {"num_classes": 0})
    assert isinstance(config, (ViTConfig, ResNetConfig))
    return config, line
