"""What every measure shares: a batch of pictures passes the vision tower once and leaves what texts need."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from limner.checkpoint import Bundle
from limner.checkpoint.bundle import AnyTokenizer
from limner.data.tokenizers import WordPiece
from limner.data.transforms import normalise
from limner.errors import CheckpointError, ShapeError
from limner.models.bert import CrossMemory
from limner.models.blip import BLIP
from limner.models.clip import CLIP
from limner.models.convirt import ConVIRT
from limner.shapes import ImageSpec

Progress = Callable[[int, int], None]
"""Called with how many items are done and how many there are."""

MAX_TOKENS = 64
"""Texts longer than this, or than the model's positions, are cut; no recipe of BLIP has longer ones."""


class Look(NamedTuple):
    """What one look at a batch of b pictures leaves; nothing, e = 0 or no layers, where a head is not there.

    Args:
        embed: unit vectors of the joint space, `Float[Tensor, "b e"]`.
        encoder: for `match`.
        decoder: for `decode` and `generate`.
    """

    embed: Tensor
    encoder: CrossMemory
    decoder: CrossMemory


def blip_of(bundle: Bundle) -> tuple[BLIP, WordPiece]:
    """The BLIP and the tokenizer of a bundle.

    Raises: CheckpointError when the bundle holds another kind of model, or one in train mode.
    """
    model, tokenizer = bundle.blip()
    if model.training:
        raise CheckpointError(
            f"{bundle.name} is in train mode, its dropout would blur the measure",
            hint="call model.eval() first",
        )
    return model, tokenizer


def device_of(bundle: Bundle) -> torch.device:
    """Where the model is."""
    return next(bundle.model.parameters()).device


@torch.inference_mode()
def look(bundle: Bundle, images: Sequence[UInt8[np.ndarray, "y x 3"]]) -> Look:
    """Look at one batch of pictures.

    Args:
        bundle: a BLIP.
        images: u8 pixels, already at the model's size (`transforms.to_u8`).
    Raises: ShapeError when a picture has another size.
    """
    model, _ = blip_of(bundle)
    size = bundle.image_spec.size
    if wrong := [image.shape for image in images if image.shape != (size, size, 3)]:
        raise ShapeError(
            f"a picture of shape {wrong[0]}", wanted=f"({size}, {size}, 3)", hint="use transforms.to_u8"
        )
    tokens = model.encode_image(normed(images, bundle.image_spec, device_of(bundle)))
    heads, nothing = model.config.heads, CrossMemory(())
    encoder = model.encoder_memory(tokens) if "itm" in heads else None
    return Look(
        model.embed_image(tokens) if "itc" in heads else tokens[:, 0, :0].float(),
        encoder or nothing,
        model.decoder_memory(tokens, encoder) if "lm" in heads else nothing,
    )


def normed(
    images: Sequence[UInt8[np.ndarray, "y x 3"]], spec: ImageSpec, device: torch.device
) -> Float[Tensor, "b 3 y x"]:
    """Pictures at the model's size as what the model reads."""
    return normalise(torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2), spec)


def looks(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Iterator[tuple[range, Look]]:
    """Look at many pictures, batch by batch, with the indices of each batch.

    Args:
        bundle: a BLIP.
        images: see `look`.
        batch_size: pictures at a time.
        progress: called after the consumer is done with each batch.
    """
    for start in range(0, len(images), batch_size):
        batch = range(start, min(start + batch_size, len(images)))
        yield batch, look(bundle, images[start : batch.stop])
        if progress:
            progress(batch.stop, len(images))


def texts_by_length(
    bundle: Bundle, texts: Sequence[str], batch_size: int = 256
) -> Iterator[tuple[list[int], Int[Tensor, "b t"], Bool[Tensor, "b t"]]]:
    """Texts as token ids in batches of like length, so that little is spent on padding.

    Args:
        bundle: its tokenizer cleans and cuts.
        texts: as people wrote them.
        batch_size: texts at a time.
    Yields: the places of the batch in `texts`, ids, and a mask that is True on real tokens.
    """
    tokenizer: AnyTokenizer
    if isinstance(bundle.model, CLIP):
        clip, tokenizer = bundle.clip()
        max_tokens = clip.config.text.context_length
    elif isinstance(bundle.model, ConVIRT):
        convirt, tokenizer = bundle.convirt()
        max_tokens = min(MAX_TOKENS, convirt.config.text.max_positions)
    else:
        blip, tokenizer = blip_of(bundle)
        max_tokens = min(MAX_TOKENS, blip.config.text.max_positions)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        ids, mask = tokenizer.encode_batch([texts[i] for i in places], max_tokens)
        yield places, ids.to(device_of(bundle)), mask.to(device_of(bundle))


@torch.inference_mode()
def embed_texts(bundle: Bundle, texts: Sequence[str]) -> Float[np.ndarray, "n e"]:
    """Unit vectors of texts in the joint space, in their order; of a BLIP, a CLIP or a ConVIRT."""
    model = bundle.model if isinstance(bundle.model, (CLIP, ConVIRT)) else blip_of(bundle)[0]
    embeds = np.empty((len(texts), model.config.embed_dim), np.float32)
    for places, ids, mask in texts_by_length(bundle, texts):
        embeds[places] = _embedded(model, ids, mask).float().cpu().numpy()
    return embeds


def _embedded(model: CLIP | ConVIRT | BLIP, ids: Tensor, mask: Tensor) -> Tensor:
    if isinstance(model, CLIP):
        return model.encode_text(ids)
    return model.encode_text(ids, mask) if isinstance(model, ConVIRT) else model.embed_text(ids, mask)


def embed_images(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n e"]:
    """Unit vectors of pictures in the joint space, in their order; of all three, see `looks`."""
    if isinstance(bundle.model, (CLIP, ConVIRT)):
        return _two_tower_images(bundle, images, batch_size, progress)
    parts = [seen.embed.float().cpu().numpy() for _, seen in looks(bundle, images, batch_size, progress)]
    return np.concatenate(parts)


@torch.inference_mode()
def _two_tower_images(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    batch_size: int,
    progress: Progress | None,
) -> Float[np.ndarray, "n e"]:
    model, _ = bundle.convirt() if isinstance(bundle.model, ConVIRT) else bundle.clip()
    parts = []
    for start in range(0, len(images), batch_size):
        stop = min(start + batch_size, len(images))
        pixels = normed(images[start:stop], bundle.image_spec, device_of(bundle))
        parts.append(model.encode_image(pixels).cpu().numpy())
        if progress:
            progress(stop, len(images))
    return np.concatenate(parts)
