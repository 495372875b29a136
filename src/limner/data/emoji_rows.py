"""Every base emoji as training rows: one emoji on a coloured ground, captioned by its English name.

The pictures are drawn from the installed packages when asked for, as the scenes are; nothing is stored.
"""

from collections.abc import Sequence
from functools import cache
from random import Random

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from limner.data.emoji import STYLES, drawn_emoji, name_of, sprite
from limner.data.rows import Sample
from limner.data.scene_drawing import shade
from limner.data.scene_language import GROUNDS
from limner.data.transforms import to_u8
from limner.shapes import ImageSpec

DRAWN_PX = 96


class EmojiRows:
    """Base emoji as training rows, each in every style that has drawn it.

    Args:
        spec: size and filter of the pictures.
        seed: of ground, size and place.
        styles: art styles.
    """

    def __init__(self, spec: ImageSpec, seed: int, styles: tuple[str, ...] = STYLES) -> None:
        self.spec, self.seed = spec, seed
        self._drawn = [(e, style) for style in styles for e in drawn_emoji(style)]

    def __len__(self) -> int:
        return len(self._drawn)

    def samples(self, indices: Sequence[int], epoch: int) -> list[Sample]:
        """Draw emoji; ground, size and place are chosen by (seed, epoch, index).

        Args:
            indices: rows, each in [0, len).
            epoch: other epochs draw the same emoji elsewhere.
        """
        return [self._sample(index, epoch) for index in indices]

    def _sample(self, index: int, epoch: int) -> Sample:
        emoji, style = self._drawn[index]
        rng = Random(f"limner emoji {self.seed} {epoch} {index}")
        image = _on_ground(_raster(emoji, style), rng)
        key = f"{style}/{'-'.join(format(ord(char), '04X') for char in emoji)}"
        return Sample(key=key, image=to_u8(image, self.spec), caption=name_of(emoji).lower(), image_id=index)


@cache
def _raster(emoji: str, style: str) -> UInt8[np.ndarray, "y x 4"]:
    return sprite(emoji, style, DRAWN_PX)


def _on_ground(pixels: UInt8[np.ndarray, "y x 4"], rng: Random) -> Image.Image:
    """The emoji on white, as often as not, or on a coloured ground, with some room around it."""
    side = int(DRAWN_PX * (1.02 + 0.4 * rng.random()))
    name = "white" if rng.random() < 0.5 else GROUNDS[int(rng.random() * len(GROUNDS))]
    canvas = Image.new("RGB", (side, side), shade(rng, name))
    drawn = Image.fromarray(pixels)
    room = side - DRAWN_PX
    canvas.paste(drawn, (int(rng.random() * (room + 1)), int(rng.random() * (room + 1))), drawn)
    return canvas
