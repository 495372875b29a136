"""A model ready to use: `limner.load(name)` and its verbs, pictures and texts in, plain values out."""

from limner.ready.loading import load
from limner.ready.model import Ready
from limner.ready.results import (
    Answer,
    Caption,
    Classification,
    ImageEmbeddings,
    Judgement,
    Match,
    TextEmbeddings,
)

__all__ = [
    "Answer",
    "Caption",
    "Classification",
    "ImageEmbeddings",
    "Judgement",
    "Match",
    "Ready",
    "TextEmbeddings",
    "load",
]
