"""How a table is cleaned."""

from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from limner.config import Config
from limner.data.languages import NAMES
from limner.models.generate import Decoding

NOT_MEASURED = frozenset(
    {"threshold", "quantile", "precision", "confidence", "labels", "batch_size", "chunk_rows"}
)
"""Settings that change no caption and no score."""


class CapFiltSettings(Config):
    """How a table is cleaned; the defaults are the paper's.

    Args:
        seed: of the words that are drawn, together with each row's key.
        threshold: ITM probability from which a text stays, [0, 1]; the paper keeps what is called matched.
        quantile: instead, the share of all scored texts that goes, lowest ITM first.
        precision: instead, the share of kept texts that must be good, as far as `labels` can tell.
        confidence: of the promise made by `precision`.
        labels: column, or CSV of key, text, good, that says which texts are good; see `labels`.
        decoding: of the synthetic captions.
        captions_per_picture: synthetic captions a picture.
        also: another decoding that adds one caption a picture, such as a beam's beside those drawn.
        prompt: words that synthetic captions go on from, for captioners trained with one.
        vocabulary_test: drop texts that the filter's tokenizer cannot read; see `junk`.
        languages: codes such as "en"; a text that is surely in none of them is junk. Empty takes all.
        itc_screen: texts whose cosine is lower are dropped without ITM; None scores every text by both.
        max_text_tokens: texts are cut to this for scoring.
        texts_column: where the web texts are.
        batch_size: pictures, and pairs, that go through a model at a time; no caption depends on it.
        chunk_rows: rows that are saved at a time: what a kill can cost.
        merge: alike tokens merged in each block of both image encoders, which is faster; see `fewer`.
    """

    LATER: ClassVar = frozenset(
        {"quantile", "precision", "confidence", "labels", "also", "languages", "itc_screen", "merge"}
    )

    seed: int = 0
    threshold: float = Field(default=0.5, ge=0, le=1)
    quantile: float | None = Field(default=None, ge=0, lt=1)
    precision: float | None = Field(default=None, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    labels: str = ""
    decoding: Decoding = Decoding(method="nucleus", top_p=0.9)
    captions_per_picture: int = Field(default=1, ge=1)
    also: Decoding | None = None
    prompt: str = ""
    vocabulary_test: bool = True
    languages: tuple[str, ...] = ()
    itc_screen: float | None = Field(default=None, ge=-1, le=1)
    max_text_tokens: int = Field(default=32, ge=4)
    texts_column: str = "texts"
    batch_size: int = Field(default=64, ge=1)
    chunk_rows: int = Field(default=256, ge=1)
    merge: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_rule(self) -> "CapFiltSettings":
        if self.quantile is not None and self.precision is not None:
            raise ValueError("quantile and precision are two rules for the threshold: give one")
        if (self.precision is None) != (self.labels == ""):
            raise ValueError("precision and labels go together: a precision is calibrated on labels")
        return self

    @field_validator("languages")
    @classmethod
    def _told(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        if strange := [code for code in codes if code not in NAMES]:
            raise ValueError(f"no code of a language: {', '.join(strange)}; known are {', '.join(NAMES)}")
        return codes

    @property
    def writings(self) -> tuple[tuple[Decoding, int], ...]:
        """Each decoding with the number of captions a picture it writes."""
        also = () if self.also is None else ((self.also, 1),)
        return ((self.decoding, self.captions_per_picture), *also)

    @property
    def texts_written(self) -> int:
        """Synthetic captions a picture, all decodings together."""
        return sum(count for _, count in self.writings)
