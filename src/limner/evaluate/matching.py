"""Does this text belong to this picture? ITM scores of pairs, and how well they tell right from wrong.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), sections 3.2 and 3.3 (the filter of CapFilt).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from limner.checkpoint import Bundle
from limner.evaluate.metrics import auroc, average_precision
from limner.evaluate.pictures import Look, Progress, blip_of, looks, texts_by_length


@torch.inference_mode()
def match_looked(
    bundle: Bundle, seen: Look, texts: Sequence[str], rows: Sequence[int]
) -> Float[np.ndarray, "n 2"]:
    """Match logits of texts with pictures that were looked at.

    Args:
        bundle: a BLIP.
        seen: b pictures.
        texts: n of them.
        rows: for each text its picture, [0, b).
    Returns: class 1 is "matched".
    """
    model, _ = blip_of(bundle)
    logits = np.empty((len(texts), 2), np.float32)
    picture = torch.as_tensor(rows)
    for places, ids, mask in texts_by_length(bundle, texts):
        memory = seen.encoder.rows(picture[places].to(ids.device))
        logits[places] = model.match(memory, ids, mask).float().cpu().numpy()
    return logits


def match_logits(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    texts: Sequence[Sequence[str]],
    batch_size: int = 64,
    progress: Progress | None = None,
) -> list[Float[np.ndarray, "n 2"]]:
    """Match logits of each picture with each of its texts.

    Args:
        bundle: a BLIP.
        images: u8 pixels at the model's size.
        texts: any number for each picture.
        batch_size: pictures at a time.
        progress: counts pictures.
    Returns: one array a picture.
    """
    result: list[np.ndarray] = []
    for batch, seen in looks(bundle, images, batch_size, progress):
        counts = [len(texts[i]) for i in batch]
        rows = np.repeat(np.arange(len(batch)), counts)
        logits = match_looked(bundle, seen, [text for i in batch for text in texts[i]], rows.tolist())
        result += np.split(logits, np.cumsum(counts)[:-1])
    return result


def match_probability(logits: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """Probability that each pair belongs together, [0, 1]."""
    probability: np.ndarray = (1 + np.tanh((logits[:, 1] - logits[:, 0]) / 2)) / 2
    return probability


def matching(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    texts: Sequence[str],
    truth: Bool[np.ndarray, " n"],
    batch_size: int = 64,
    progress: Progress | None = None,
) -> dict[str, float]:
    """How well the ITM score ranks right pairs above wrong ones.

    Args:
        bundle: a BLIP.
        images: u8 pixels at the model's size.
        texts: one a picture.
        truth: True where the text belongs to the picture; both kinds must occur.
        batch_size: pictures at a time.
        progress: counts pictures.
    Returns: `auroc`, and `average_precision` of finding the wrong pairs.
    """
    logits = np.concatenate(match_logits(bundle, images, [[text] for text in texts], batch_size, progress))
    margin = logits[:, 1] - logits[:, 0]  # orders as the probability does, without its ties near 1
    return {"auroc": auroc(margin, truth), "average_precision": average_precision(-margin, ~truth)}
