"""Videos by frames, against a loop over the released evaluation's steps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from limner.checkpoint import Bundle
from limner.evaluate.pictures import embed_texts, normed
from limner.evaluate.retrieval import OUTSIDE
from limner.evaluate.video import embed_videos, rerank_videos, video_cosines, video_tokens


@pytest.fixture
def videos(images) -> list[list[np.ndarray]]:
    return [images[:3], images[3:6], [images[6], images[0], images[4]], [images[2]] * 3]


@torch.inference_mode()
def test_a_vector_is_the_mean_of_projections_normalised_after(bundle: Bundle, videos) -> None:
    found = embed_videos(bundle, videos)
    for video, vector in zip(videos, found, strict=True):
        tokens = [
            bundle.model.encode_image(normed([f], bundle.image_spec, torch.device("cpu"))) for f in video
        ]
        mean = sum(bundle.model.vision_proj(t[0, 0]) for t in tokens) / 3
        np.testing.assert_allclose(vector, F.normalize(mean, dim=0).numpy(), atol=1e-5)


@torch.inference_mode()
def test_the_rerank_reads_all_frames_end_to_end(bundle: Bundle, videos, texts) -> None:
    cosine = video_cosines(bundle, videos, texts)
    np.testing.assert_allclose(cosine, embed_videos(bundle, videos) @ embed_texts(bundle, texts).T, atol=1e-6)
    to_text, to_video = rerank_videos(bundle, videos, texts, cosine, 2)
    for v, video in enumerate(videos):
        tokens = bundle.model.encode_image(normed(video, bundle.image_spec, torch.device("cpu")))
        memory = bundle.model.encoder_memory(tokens.reshape(1, -1, tokens.shape[-1]))
        best = set(np.argsort(cosine[v], kind="stable")[::-1][:2].tolist())
        for t, text in enumerate(texts):
            ids = torch.tensor([bundle.tokenizer.encode(text)])
            wanted = float(bundle.model.match(memory, ids)[0, 1]) + cosine[v, t]
            assert to_text[v, t] == pytest.approx(wanted if t in best else OUTSIDE, abs=1e-4)
            near = t_best(cosine, t)
            assert to_video[v, t] == pytest.approx(wanted if v in near else OUTSIDE, abs=1e-4)


def t_best(cosine: np.ndarray, t: int) -> set[int]:
    return set(np.argsort(cosine[:, t], kind="stable")[::-1][:2].tolist())


def test_tokens_of_frames_are_laid_end_to_end(bundle: Bundle, videos) -> None:
    tokens = video_tokens(bundle, videos[:2])
    one = video_tokens(bundle, [[videos[1][2]]])
    n = one.shape[1]
    torch.testing.assert_close(tokens[1, 2 * n :], one[0], atol=1e-5, rtol=1e-5)
    assert tokens.shape[:2] == (2, 3 * n)


def test_a_still_video_is_its_picture(bundle: Bundle, images) -> None:
    from limner.evaluate.pictures import embed_images

    np.testing.assert_allclose(
        embed_videos(bundle, [[images[0]] * 4])[0], embed_images(bundle, images[:1])[0], atol=1e-5
    )
