"""One line of `MODELS`: what a named model is, and how other libraries call it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from limner.config import Config
from limner.shapes import ImageSpec


class ModelEntry(NamedTuple):
    """One line of `MODELS`.

    Args:
        config: sizes.
        build: makes the module, with fresh weights.
        image_spec: how pictures are prepared for it.
        paper: where the sizes are from.
        aliases: its names in the dialects of torchvision, timm, OpenAI, open_clip, HF and LAVIS.
    """

    config: Config
    build: Callable[[Any], nn.Module]
    image_spec: ImageSpec
    paper: str
    aliases: tuple[str, ...] = ()
