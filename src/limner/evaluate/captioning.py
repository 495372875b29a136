"""Captions of pictures, and how right they are: CIDEr-D against references, and checks that know the truth.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.2; Vedantam et al. 2015 (CIDEr, arXiv 1411.5726).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from limner.checkpoint import Bundle
from limner.evaluate.metrics import cider_d
from limner.evaluate.pictures import Look, Progress, blip_of, device_of, looks
from limner.models.generate import Decoding, generate

Check = Callable[[int, str], bool]
"""Whether the caption of the picture with this index passes."""

GREEDY = Decoding(method="greedy")


@torch.inference_mode()
def caption_looked(
    bundle: Bundle,
    seen: Look,
    decoding: Decoding = GREEDY,
    seeds: Sequence[int] | None = None,
    prompt: str = "",
) -> list[str]:
    """Caption pictures that were looked at.

    Args:
        bundle: a BLIP.
        seen: b pictures.
        decoding: how words are chosen.
        seeds: one a picture, for words that are drawn ("nucleus"); 0, 1, … when None.
        prompt: words each caption goes on from, not returned.
    Returns: one caption a picture.
    """
    model, tokenizer = blip_of(bundle)
    pictures = len(seen.embed)
    start = tokenizer.encode(prompt, max_tokens=64)[:-1]  # [CLS] words, without [SEP]
    given = torch.tensor(start, device=device_of(bundle)).expand(pictures, -1)
    drawn = torch.as_tensor(range(pictures) if seeds is None else seeds)
    return [tokenizer.decode(g.ids) for g in generate(model, seen.decoder, given, decoding, drawn)]


def captions(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    decoding: Decoding = GREEDY,
    batch_size: int = 64,
    progress: Progress | None = None,
    prompt: str = "",
) -> list[str]:
    """Caption pictures.

    Args:
        bundle: a BLIP.
        images: u8 pixels at the model's size.
        decoding: how words are chosen; words that are drawn depend on the picture's place in `images`.
        batch_size: pictures at a time.
        progress: counts pictures.
        prompt: words each caption goes on from, not returned.
    """
    found: list[str] = []
    for batch, seen in looks(bundle, images, batch_size, progress):
        found += caption_looked(bundle, seen, decoding, batch, prompt)
    return found


def caption_quality(
    found: Sequence[str], references: Sequence[Sequence[str]], checks: Mapping[str, Check] | None = None
) -> dict[str, float]:
    """Score captions.

    Args:
        found: one caption a picture.
        references: one or more true captions a picture.
        checks: name → test of one caption against what is known of its picture.
    Returns: `cider_d`, and for each check the share of captions that pass.
    """
    shares = {
        name: float(np.mean([check(index, caption) for index, caption in enumerate(found)]))
        for name, check in (checks or {}).items()
    }
    return {"cider_d": cider_d(found, references).mean} | shares


def captioning(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    references: Sequence[Sequence[str]],
    checks: Mapping[str, Check] | None = None,
    decoding: Decoding = GREEDY,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Caption pictures and score the captions; see `captions` and `caption_quality`."""
    return caption_quality(captions(bundle, images, decoding, batch_size, progress), references, checks)
