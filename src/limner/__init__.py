"""limner: the road from pixels to language, ResNet → ViT → CLIP → BLIP."""

__version__ = "0.1.0"
