"""Videos as pictures models know: frames taken evenly, zero-shot, without a thought for their order.

Implements: text ↔ video retrieval of a model that was never shown a video. Cosines: the mean of the frames'
    projected class tokens, normalised after it; re-ranked by BLIP's matching head, which reads the tokens
    of all frames laid end to end, as ITM logit + cosine among the top k, −100 outside. A CLIP's video is
    the normalised mean of its frames' vectors.
Differs: frames go in as the model's `ImageSpec` says. Nothing tells the model which frame came first.
Checked against: a loop over the released evaluation's steps.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.6 and its released video code.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from limner.checkpoint import Bundle
from limner.evaluate.pictures import (
    Progress,
    blip_of,
    device_of,
    embed_images,
    embed_texts,
    normed,
    texts_by_length,
)
from limner.evaluate.retrieval import OUTSIDE, top
from limner.models.clip import CLIP

Frames = Sequence[UInt8[np.ndarray, "y x 3"]]


@torch.inference_mode()
def video_tokens(bundle: Bundle, videos: Sequence[Frames]) -> Float[Tensor, "b n d"]:
    """Tokens of videos, those of all frames end to end: what BLIP's texts read.

    Args:
        bundle: a BLIP of any kind.
        videos: b of them, of as many frames each, u8 pixels at the model's size.
    """
    flat = normed([frame for video in videos for frame in video], bundle.image_spec, device_of(bundle))
    tokens: Tensor = bundle.model.encode_image(flat)  # type: ignore[operator]
    return tokens.reshape(len(videos), -1, tokens.shape[-1])


def embed_videos(
    bundle: Bundle, videos: Sequence[Frames], progress: Progress | None = None
) -> Float[np.ndarray, "v e"]:
    """Unit vectors of videos in the joint space.

    Args:
        bundle: a CLIP, or a BLIP with the head itc.
        videos: u8 pixels at the model's size.
        progress: counts videos.
    """
    found = []
    for number, video in enumerate(videos):
        if isinstance(bundle.model, CLIP):
            mean = embed_images(bundle, video).mean(0)
            found.append(mean / np.linalg.norm(mean))
        else:
            found.append(_blip_vector(bundle, video))
        if progress:
            progress(number + 1, len(videos))
    return np.stack(found)


@torch.inference_mode()
def _blip_vector(bundle: Bundle, video: Frames) -> Float[np.ndarray, " e"]:
    model, _ = blip_of(bundle)
    model.require("itc", "video retrieval")
    tokens = model.encode_image(normed(video, bundle.image_spec, device_of(bundle)))
    vector = F.normalize(model.vision_proj(tokens[:, 0]).float().mean(0), dim=0)
    plain: np.ndarray = vector.cpu().numpy()
    return plain


def rerank_videos(
    bundle: Bundle,
    videos: Sequence[Frames],
    texts: Sequence[str],
    cosine: Float[np.ndarray, "v t"],
    top_k: int,
    progress: Progress | None = None,
) -> tuple[Float[np.ndarray, "v t"], Float[np.ndarray, "v t"]]:
    """Score the best pairs by ITM.

    Args:
        bundle: a BLIP with the head itm.
        videos: u8 pixels at the model's size.
        texts: t of them.
        cosine: of each video with each text.
        top_k: texts for each video, and videos for each text.
        progress: counts videos.
    Returns: scores for videos → texts and for texts → videos, both of shape (v, t).
    """
    texts_of, videos_of = top(cosine, top_k), top(cosine.T, top_k).T
    scores = np.full(cosine.shape, OUTSIDE, np.float32)
    for number, video in enumerate(videos):
        columns = np.flatnonzero((texts_of | videos_of)[number])
        logits = _match(bundle, video, [texts[c] for c in columns.tolist()])
        scores[number, columns] = logits + cosine[number, columns]
        if progress:
            progress(number + 1, len(videos))
    return np.where(texts_of, scores, OUTSIDE), np.where(videos_of, scores, OUTSIDE)


@torch.inference_mode()
def _match(bundle: Bundle, video: Frames, texts: Sequence[str]) -> Float[np.ndarray, " t"]:
    model, _ = blip_of(bundle)
    memory = model.encoder_memory(video_tokens(bundle, [video]))
    logits = np.empty(len(texts), np.float32)
    for places, ids, mask in texts_by_length(bundle, texts):
        logits[places] = model.match(memory, ids, mask)[:, 1].float().cpu().numpy()
    return logits


def video_cosines(
    bundle: Bundle, videos: Sequence[Frames], texts: Sequence[str], progress: Progress | None = None
) -> Float[np.ndarray, "v t"]:
    """Cosine of each video with each text; see `embed_videos`."""
    cosines: np.ndarray = embed_videos(bundle, videos, progress) @ embed_texts(bundle, texts).T
    return cosines
