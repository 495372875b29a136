"""How a table is cleaned."""

from pydantic import Field

from limner.config import Config
from limner.models.generate import Decoding

NOT_MEASURED = frozenset({"threshold", "batch_size", "chunk_rows"})
"""Settings that change no caption and no score."""


class CapFiltSettings(Config):
    """How a table is cleaned; the defaults are the paper's.

    Args:
        seed: of the words that are drawn, together with each row's key.
        threshold: ITM probability from which a text stays, [0, 1]; the paper keeps what is called matched.
        decoding: of the synthetic captions.
        captions_per_picture: synthetic captions a picture.
        prompt: words that synthetic captions go on from, for captioners trained with one.
        vocabulary_test: drop texts that the filter's tokenizer cannot read; see `junk`.
        max_text_tokens: texts are cut to this for scoring.
        texts_column: where the web texts are.
        batch_size: pictures, and pairs, that go through a model at a time; no caption depends on it.
        chunk_rows: rows that are saved at a time: what a kill can cost.
    """

    seed: int = 0
    threshold: float = Field(default=0.5, ge=0, le=1)
    decoding: Decoding = Decoding(method="nucleus", top_p=0.9)
    captions_per_picture: int = Field(default=1, ge=1)
    prompt: str = ""
    vocabulary_test: bool = True
    max_text_tokens: int = Field(default=32, ge=4)
    texts_column: str = "texts"
    batch_size: int = Field(default=64, ge=1)
    chunk_rows: int = Field(default=256, ge=1)
