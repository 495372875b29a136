"""What models are worth on pairs they have not seen, picture by picture, so that differences have intervals.

Retrieval is among the `POOL` pictures of a block; a text counts as right for every picture it is true of.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from limner.checkpoint import Bundle
from limner.data.intake import decode
from limner.data.scene_language import Scenery, is_exact
from limner.data.table import Table
from limner.data.transforms import to_u8
from limner.evaluate.captioning import caption_looked
from limner.evaluate.metrics import bootstrap_interval, cider_d, first_ranks
from limner.evaluate.pictures import Look, blip_of, device_of, embed_texts, looks
from limner.shapes import ImageSpec

POOL = 100
"""Pictures and texts in one retrieval."""

LOWER_IS_BETTER = frozenset({"loss"})

Each = dict[str, Float[np.ndarray, " n"]]
"""Measure → one value a picture: `i2t_r1`, `t2i_r1` (0 or 1), `cider_d`, `loss` (nats a token)."""

Progress = Callable[[int, int | None], None]


class HeldOut(NamedTuple):
    """Pairs to measure on.

    Args:
        images: n pictures at the model's size.
        texts: one true text a picture, the one retrieval and the loss use.
        references: all true texts of each picture.
        truths: what is in each picture.
    """

    images: list[UInt8[np.ndarray, "y x 3"]]
    texts: list[str]
    references: list[list[str]]
    truths: list[Scenery]


def read_held_out(table: Table, spec: ImageSpec) -> HeldOut:
    """Read a clean scenes table whole, its pictures at the model's size."""
    columns = ["image", "texts", "objects", "boxes", "ground"]
    rows = [row for batch in table.batches(columns) for row in batch]
    return HeldOut(
        images=[to_u8(decode(row["image"]), spec) for row in rows],
        texts=[row["texts"][0] for row in rows],
        references=[row["texts"] for row in rows],
        truths=[Scenery.from_row(row) for row in rows],
    )


@torch.inference_mode()
def measure(bundle: Bundle, data: HeldOut, progress: Progress | None = None) -> Each:
    """Measure a BLIP, picture by picture.

    Args:
        bundle: a BLIP.
        data: n held-out pairs.
        progress: counts pictures.
    """
    embeds, captions, losses = [], list[str](), list[float]()
    for batch, seen in looks(bundle, data.images, progress=progress):
        embeds.append(seen.embed.float().cpu().numpy())
        captions += caption_looked(bundle, seen)
        losses += text_losses(bundle, seen, data.texts[batch.start : batch.stop]).tolist()
    cosine = np.concatenate(embeds) @ embed_texts(bundle, data.texts).T
    image_to_text, text_to_image = first_hits(cosine, data)
    return {
        "i2t_r1": image_to_text,
        "t2i_r1": text_to_image,
        "cider_d": cider_d(captions, data.references).each,
        "loss": np.array(losses),
    }


@torch.inference_mode()
def text_losses(bundle: Bundle, seen: Look, texts: Sequence[str]) -> Float[Tensor, " b"]:
    """Mean nats per token of the decoder on each picture's text."""
    model, tokenizer = blip_of(bundle)
    ids, mask = (t.to(device_of(bundle)) for t in tokenizer.encode_batch(texts))
    logits = model.decode(seen.decoder, ids, mask)[:, :-1].float()
    nats = functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    counted = mask[:, 1:]
    return (nats * counted).sum(1) / counted.sum(1)


def first_hits(
    cosine: Float[np.ndarray, "n n"], data: HeldOut
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Whether the first text of each picture is right, and the first picture of each text, block by block."""
    image_to_text, text_to_image = np.zeros(len(cosine)), np.zeros(len(cosine))
    for start in range(0, len(cosine), POOL):
        block = slice(start, start + POOL)
        right = _right(data.truths[block], data.texts[block])
        scores = cosine[block, block]
        image_to_text[block] = first_ranks(scores, right) == 0
        text_to_image[block] = first_ranks(scores.T, right.T) == 0
    return image_to_text, text_to_image


def _right(truths: Sequence[Scenery], texts: Sequence[str]) -> Bool[np.ndarray, "p t"]:
    """Which texts are right for which pictures; a text names all there is, so few pairs need a check."""
    names = [frozenset(thing.concept for thing in truth.things) for truth in truths]
    pairs = [
        i == j or (names[i] == names[j] and is_exact(texts[j], truths[i]))
        for i in range(len(truths))
        for j in range(len(texts))
    ]
    return np.array(pairs).reshape(len(truths), len(texts))


def with_interval(values: Float[np.ndarray, " n"], seed: int) -> dict[str, float]:
    """Mean of a measure over pictures, with its 95 % bootstrap interval."""
    low, high = bootstrap_interval(values, seed)
    return {"value": float(values.mean()), "low": low, "high": high}


def compare(cleaned: Each, raw: Each, seed: int) -> list[dict[str, Any]]:
    """Cleaned minus raw on the same pictures, with intervals and what they allow to say.

    Returns: for each measure its name, `gain`, `low`, `high` and `verdict`.
    """
    found = []
    for name in cleaned:
        difference = cleaned[name] - raw[name]
        low, high = bootstrap_interval(difference, seed)
        verdict = say_difference(low, high, lower_is_better=name in LOWER_IS_BETTER)
        found.append(
            {"measure": name, "gain": float(difference.mean()), "low": low, "high": high, "verdict": verdict}
        )
    return found


def say_difference(low: float, high: float, *, lower_is_better: bool) -> str:
    """What an interval of cleaned − raw allows to say."""
    if low <= 0 <= high:
        return "within noise"
    return "cleaned is better" if (low > 0) != lower_is_better else "raw is better"


def measures_of(each: Mapping[str, Float[np.ndarray, " n"]], seed: int) -> dict[str, dict[str, float]]:
    """Every measure of a model with its interval."""
    return {name: with_interval(values, seed) for name, values in each.items()}
