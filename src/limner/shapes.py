"""Axis legend for every tensor shape in limner, and `ImageSpec`, the preprocessing that travels with weights.

Axes: b batch · n image tokens · t text length · d width · h heads · f width of one head · l layers
      k classes · c channels · y x pixel rows, columns · v vocabulary · e embed_dim · q queue · m memory width

Pixels are named by range: `u8` uint8 in [0, 255], `unit` float in [0, 1], `normed` after mean and std.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Channel = Annotated[int, Field(ge=0, le=255)]
Positive = Annotated[float, Field(gt=0)]


class ImageSpec(BaseModel):
    """How a picture becomes the tensor a model was trained on.

    Args:
        size: side of the square input, pixels.
        mean: per channel, subtracted from `unit` pixels (RGB).
        std: per channel, divides after the mean.
        resampling: Pillow filter name.
        crop: "squash" resizes to the square whatever the aspect (BLIP's evaluation), "center" resizes the
            short side to `size / crop_fraction` and cuts the middle (torchvision, timm, CLIP), "pad" fits the
            long side and pads.
        crop_fraction: of the resized short side that the centre crop keeps, (0, 1].
        resize_px: side to resize to before the middle is cut, at least `size`; takes the place of
            `crop_fraction` where 232 to 224 must be exact. With "squash" both sides, with "pad" the long one.
        crop_offset: where the middle of an odd margin begins: "round" half to even (torchvision, timm,
            open_clip), "floor" (transformers).
        pad_colour: RGB around a padded picture; None for the one that normalises to zero.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=8, le=4096)
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[Positive, Positive, Positive] = CLIP_STD
    resampling: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    crop: Literal["squash", "center", "pad"] = "squash"
    crop_fraction: float = Field(default=1.0, gt=0, le=1)
    resize_px: int | None = Field(default=None, ge=8, le=8192)
    crop_offset: Literal["round", "floor"] = "round"
    pad_colour: tuple[Channel, Channel, Channel] | None = None

    @model_validator(mode="after")
    def _resize_covers_the_crop(self) -> "ImageSpec":
        if self.resize_px is not None and self.resize_px < self.size:
            raise ValueError(f"resize_px: {self.resize_px} is smaller than size: {self.size}")
        return self
