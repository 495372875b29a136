"""What a ready model tells: small values that print well and hold no tensors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from limner.capfilt.caption import Caption, Token
from limner.errors import ConfigError, ShapeError

__all__ = [
    "Answer",
    "Caption",
    "Classification",
    "Detection",
    "ImageEmbeddings",
    "Judgement",
    "Match",
    "TextEmbeddings",
    "Token",
]


@dataclass(frozen=True)
class Classification:
    """One class a picture may belong to.

    Args:
        label: its name; its number as text when nobody knows the names.
        index: place among the classes, from 0.
        probability: [0, 1]; those of all classes sum to 1.
    """

    label: str
    index: int
    probability: float


@dataclass(frozen=True)
class Detection:
    """One thing in a picture.

    Args:
        label: what it is.
        score: [0, 1].
        box: x0, y0, x1, y1 in pixels of the picture as it came.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Answer:
    """An answer to a question about a picture.

    Args:
        text: as the model wrote it.
    """

    text: str


@dataclass(frozen=True)
class Match:
    """How well a text fits a picture.

    Args:
        itm: probability that they belong together, [0, 1], by the model that reads both; None without one.
        itc: cosine of their vectors, [-1, 1]; None when the model has no joint space.
    """

    itm: float | None
    itc: float | None


@dataclass(frozen=True)
class Judgement:
    """Whether a statement about two pictures is true.

    Args:
        true: probability, [0, 1].
    """

    true: float


@dataclass(frozen=True, eq=False)
class TextEmbeddings:
    """Unit vectors of texts in the space they share with pictures.

    Args:
        vectors: float32, (n, e) for a list of texts, (e,) for one.
    """

    vectors: Float[np.ndarray, "*n e"]


@dataclass(frozen=True, eq=False)
class ImageEmbeddings:
    """Vectors of pictures.

    Args:
        vectors: float32, (n, e) for a list of pictures, (e,) for one.
        joint: True for unit vectors in the space of texts; False for features of a model that reads no texts,
            of any length.
    """

    vectors: Float[np.ndarray, "*n e"]
    joint: bool

    def similarity(self, other: "ImageEmbeddings | TextEmbeddings") -> Float[np.ndarray, "..."]:
        """Cosines of these pictures with other pictures or with texts.

        Returns: one row a picture, one column for each of the others; an axis is missing where there was one
            picture or text and no list.
        Raises: ConfigError when features are compared with texts; ShapeError when widths differ.
        """
        if isinstance(other, TextEmbeddings) and not self.joint:
            raise ConfigError(
                "features of pictures and vectors of texts",
                wanted="both from one CLIP, or one BLIP with the head itc",
            )
        if self.vectors.shape[-1] != other.vectors.shape[-1]:
            raise ShapeError(
                f"vectors of {self.vectors.shape[-1]} and of {other.vectors.shape[-1]} numbers",
                wanted="both from one model",
            )
        cosines: np.ndarray = _unit(self.vectors) @ _unit(other.vectors).T
        return cosines


def _unit(vectors: Float[np.ndarray, "*n e"]) -> Float[np.ndarray, "*n e"]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(lengths, 1e-12)
    return unit
