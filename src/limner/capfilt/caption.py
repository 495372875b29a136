"""Captions by a BLIP: pictures in, texts with their log-probability out.

A caption depends on the picture, the decoding settings and `(seed, key)` alone, never on the pictures beside
it in the batch: every row draws from its own generator.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from limner.checkpoint import Bundle
from limner.config import build
from limner.data.intake import open_picture
from limner.data.tokenizers import WordPiece
from limner.data.transforms import normalise, to_u8
from limner.errors import ConfigError, PictureError
from limner.models.bert import CrossMemory
from limner.models.decoding import holds
from limner.models.generate import Decoding, Generated, generate


class Token(NamedTuple):
    """One token of a generated text.

    Args:
        piece: as the vocabulary has it; "[SEP]" ends a text.
        log_prob: natural log of its probability under the captioner after picture, prompt and the tokens
            before it, ≤ 0; sampling and rules of words do not touch it.
    """

    piece: str
    log_prob: float


class Caption(NamedTuple):
    """One generated text.

    Args:
        text: without the prompt.
        log_prob: natural log of its probability under the captioner, end of sentence included, ≤ 0.
        tokens: that it was written by; their log-probabilities sum to `log_prob`.
    """

    text: str
    log_prob: float
    tokens: tuple[Token, ...]


class Captioned(NamedTuple):
    """What came of one picture.

    Args:
        source: as given.
        captions: best first; empty when the picture was refused.
        problem: why it was refused, None when it was not.
    """

    source: str | Path
    captions: list[Caption]
    problem: PictureError | None


def image_tokens(bundle: Bundle, images: Sequence[UInt8[np.ndarray, "y x 3"]]) -> Float[Tensor, "b n d"]:
    """Run the vision tower once over pictures that already have the model's size."""
    model, _ = bundle.blip()
    u8 = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return model.encode_image(normalise(u8.to(next(model.parameters()).device), bundle.image_spec))


def row_seed(seed: int, key: str, sample: int = 0) -> int:
    """Seed of one caption, from the job's seed, the row's key and the number of the sample; in [0, 2⁶³)."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{sample}\n{key}".encode()).digest()[:8]) >> 1


@torch.inference_mode()
def caption_memory(
    bundle: Bundle,
    memory: CrossMemory,
    keys: Sequence[str],
    decoding: Decoding,
    *,
    seed: int = 0,
    prompt: str = "",
    count: int = 1,
) -> list[list[Caption]]:
    """Caption pictures whose decoder memory is at hand.

    Args:
        bundle: a BLIP.
        memory: `decoder_memory` of b pictures.
        keys: b row keys.
        decoding: how to choose words.
        seed: of the job.
        prompt: words each caption goes on from, not returned.
        count: captions a picture; nucleus sampling draws them, beam search gives its best.
    Returns: for each picture its `count` captions.
    Raises: ConfigError when several captions are asked of a method that always gives the same one, or more
        than beams of beam search.
    """
    if count > 1 and decoding.method == "greedy":
        raise ConfigError(
            f"{count} captions a picture by {decoding.method!r}",
            wanted='decoding.method = "nucleus", or "beam" with as many beams',
        )
    drawn = count if decoding.method == "nucleus" else 1
    model, tokenizer = bundle.blip()
    device = next(model.parameters()).device
    seeds = torch.tensor([row_seed(seed, key, sample) for key in keys for sample in range(drawn)])
    start = tokenizer.encode(prompt, max_tokens=64)[:-1]  # [CLS] words, without [SEP]
    prompts = torch.tensor(start, device=device).expand(len(seeds), -1)
    texts = [
        Caption(tokenizer.decode(g.ids), g.log_prob, _tokens(g, tokenizer))
        for g in generate(model, memory, prompts, decoding, seeds, count=count // drawn)
    ]
    return [texts[i : i + count] for i in range(0, len(texts), count)]


def _tokens(written: Generated, tokenizer: WordPiece) -> tuple[Token, ...]:
    pieces = tokenizer.pieces([*written.ids, tokenizer.sep_id])
    return tuple(map(Token, pieces, written.log_probs))  # the end of a text that was cut was not written


@torch.inference_mode()
def caption_images(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    keys: Sequence[str],
    decoding: Decoding,
    *,
    seed: int = 0,
    prompt: str = "",
    count: int = 1,
) -> list[list[Caption]]:
    """Caption one batch of pictures that already have the model's size; see `caption_memory`."""
    model, _ = bundle.blip()
    memory = model.decoder_memory(image_tokens(bundle, images))
    return caption_memory(bundle, memory, keys, decoding, seed=seed, prompt=prompt, count=count)


def caption_pictures(
    bundle: Bundle,
    sources: Iterable[str | Path],
    decoding: Decoding | None = None,
    *,
    seed: int = 0,
    prompt: str = "",
    count: int = 1,
    batch_size: int = 32,
) -> Iterator[Captioned]:
    """Caption picture files in the order given, as a stream; a refused picture does not stop the others.

    The key of a picture is its SHA-256, so a copy under another name gets the same caption.

    Args:
        bundle: a BLIP.
        sources: paths.
        decoding: beam search when None.
        seed: of words that are drawn.
        prompt: words each caption goes on from, not returned.
        count: captions a picture.
        batch_size: pictures at a time.
    Yields: one `Captioned` per source.
    """
    decoding = decoding or Decoding(method="beam")
    for batch, opened in _opened_ahead(iter(sources), bundle, batch_size):
        good = [picture for picture in opened if not isinstance(picture, PictureError)]
        captions: Iterator[list[Caption]] = iter(())
        if good:
            keys, images = [key for key, _ in good], [image for _, image in good]
            captions = iter(
                caption_images(bundle, images, keys, decoding, seed=seed, prompt=prompt, count=count)
            )
        for source, picture in zip(batch, opened, strict=True):
            if isinstance(picture, PictureError):
                yield Captioned(source, [], picture)
            else:
                yield Captioned(source, next(captions), None)


def with_words(
    decoding: Decoding, bundle: Bundle, forbidden: Sequence[str] = (), required: Sequence[str] = ()
) -> Decoding:
    """Add words that captions never have, and words that all of them have.

    Args:
        decoding: left as it is.
        bundle: whose tokenizer cuts them.
        forbidden: words, or several in a row.
        required: words, or several in a row.
    Raises: ConfigError when the model has no such word, or the rules cannot be kept.
    """
    _, tokenizer = bundle.blip()
    words = {"forbidden": forbidden, "required": required}
    ids = {name: [_word_ids(text, tokenizer) for text in texts] for name, texts in words.items()}
    for text, word in zip(required, ids["required"], strict=True):
        if any(holds(word, other) for other in ids["forbidden"]):
            raise ConfigError(f"{text!r} is required and forbidden", wanted="one of the two")
    values = {name: [*getattr(decoding, name), *found] for name, found in ids.items() if found}
    return build(decoding.model_dump() | values, Decoding, "words")


def _word_ids(text: str, tokenizer: WordPiece) -> list[int]:
    ids = tokenizer.encode(text, max_tokens=64)[1:-1]
    if not ids or tokenizer.unk_id in ids:
        raise ConfigError(f"{text!r} is no word of the model", wanted="words of its vocabulary")
    return ids


_AHEAD = 2
"""Batches that are read and decoded while the model works, one thread each."""

_Opened = tuple[str, UInt8[np.ndarray, "y x 3"]] | PictureError


def _opened_ahead(
    sources: Iterator[str | Path], bundle: Bundle, batch_size: int
) -> Iterator[tuple[list[str | Path], list[_Opened]]]:
    def read(batch: list[str | Path]) -> list[_Opened]:
        return [_open(source, bundle) for source in batch]

    with ThreadPoolExecutor(_AHEAD) as pool:
        pending: deque[tuple[list[str | Path], Future[list[_Opened]]]] = deque()
        while batch := list(islice(sources, batch_size)):
            pending.append((batch, pool.submit(read, batch)))
            if len(pending) > _AHEAD:
                first, opened = pending.popleft()
                yield first, opened.result()
        while pending:
            first, opened = pending.popleft()
            yield first, opened.result()


def _open(source: str | Path, bundle: Bundle) -> _Opened:
    try:
        picture = open_picture(source, max_side=2 * bundle.image_spec.size)
    except PictureError as error:
        return error
    return picture.sha256, to_u8(picture.image, bundle.image_spec)
