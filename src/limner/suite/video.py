"""`limner evaluate video`: texts and videos find each other, questions about videos; zero-shot, by frames.

Videos are no rows of a table. The setting `videos` names a JSONL file, one video a line, which is a video
file or a folder of pictures beside that file:

    {"video": "1.mp4", "texts": ["a dog runs"], "questions": [{"question": "what runs?", "answers": ["dog"]}]}

Without it short videos are made whose truth is known.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.6, Tables 10 and 11.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.scene_videos import scene_video
from limner.data.scenes import SceneSettings
from limner.data.transforms import to_u8
from limner.data.videos import VideoLimits, frame_indices, read_frames
from limner.errors import DataError
from limner.evaluate.metrics import accuracy, bootstrap_interval, first_ranks
from limner.evaluate.pictures import Progress
from limner.evaluate.video import rerank_videos, video_cosines, video_tokens
from limner.evaluate.vqa_answers import answer_tokens
from limner.models.blip import BLIP
from limner.models.blip_vqa import BLIPVQA
from limner.ready.abilities import answers_as_prompts, has_joint_space
from limner.shapes import ImageSpec
from limner.suite.outcome import Measure, Outcome, mean_of
from limner.suite.selection import Selection

KS = (1, 5, 10)


class VideoSettings(Config):
    """How many frames stand for a video, and what is asked.

    Args:
        videos: JSONL file of videos; empty makes them of scenes, 32 or the selection's count.
        frames: for retrieval.
        qa_frames: for questions.
        top_k: candidates re-ranked by the matching head; 0 is by cosine alone.
        caption: which of a scene's two captions is looked for: 0 what is seen, 1 what happens.
        start: number of the first made video; past all scenes that were trained on.
        limits: what is refused of a video.
        seed: of scenes and of the intervals' resampling.
    """

    videos: str = ""
    frames: int = Field(default=8, ge=1)
    qa_frames: int = Field(default=16, ge=1)
    top_k: int = Field(default=128, ge=0)
    caption: int = Field(default=0, ge=0, le=1)
    start: int = Field(default=10_000_000, ge=0)
    limits: VideoLimits = VideoLimits()
    seed: int = 0


class Clip(NamedTuple):
    """One video to measure on.

    Args:
        key: its name.
        frames: for retrieval, u8 pixels at the model's size.
        qa_frames: for questions; empty without.
        texts: what belongs to it.
        questions: with the answers that are right.
    """

    key: str
    frames: list[np.ndarray]
    qa_frames: list[np.ndarray]
    texts: list[str]
    questions: list[tuple[str, list[str]]]


def measure(
    bundle: Bundle, selection: Selection, settings: VideoSettings, progress: Progress | None
) -> Outcome:
    """Measure retrieval where videos have texts and the model compares, and answers where it answers."""
    clips = clips_of(selection, settings, bundle.image_spec)
    measures: dict[str, Measure] = {}
    samples: list[dict[str, Any]] = []
    if has_joint_space(bundle) and sum(bool(clip.texts) for clip in clips) > 1:
        found = _retrieval(bundle, [c for c in clips if c.texts], settings, progress)
        measures, samples = found.measures, list(found.samples)
    if _answers(bundle) and any(clip.questions for clip in clips):
        asked = _asked(bundle, [clip for clip in clips if clip.questions], settings)
        alone = not measures  # then an answer is what a sample adds to the first measure
        samples += [sample | ({"score": sample["right"]} if alone else {}) for sample in asked.samples]
        measures |= asked.measures
    if not measures:
        raise DataError(
            f"nothing to measure of {bundle.kind} on {settings.videos or 'made videos'}",
            wanted="texts and a model with a joint space, or questions and one that answers",
        )
    notes = (
        f"{settings.frames} frames for retrieval, {settings.qa_frames} for questions; the model does not"
        " know their order, so that what moves where cannot be told",
        "the paper's models are those of COCO retrieval and VQA at 384 and 480 pixels",
    )
    return Outcome(measures, samples, {"videos": len(clips)}, notes)


def clips_of(selection: Selection, settings: VideoSettings, spec: ImageSpec) -> list[Clip]:
    """The videos of a list, or made ones.

    Raises: DataError when the list cannot be read, or a video is refused.
    """
    if not settings.videos:
        numbers = range(settings.start, settings.start + (selection.count or 32))
        return [_of_scene(number, settings, spec) for number in numbers]
    path = Path(settings.videos)
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = [(str(row["video"]), row) for row in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no list of videos: {type(error).__name__} {error}",
            wanted='JSONL with "video" and "texts" or "questions" a line, or none for made ones',
        ) from error
    return [
        _of_row(path.parent / name, name, row, settings, spec)
        for name, row in rows[: selection.count or None]
    ]


def _of_scene(number: int, settings: VideoSettings, spec: ImageSpec) -> Clip:
    made = scene_video(SceneSettings(seed=settings.seed), number, max(settings.frames, settings.qa_frames, 2))
    pick = [frame_indices(len(made.frames), n).tolist() for n in (settings.frames, settings.qa_frames)]
    shown = [[to_u8(made.frames[i], spec) for i in chosen] for chosen in pick]
    questions = [(question, [answer]) for question, answer in made.questions]
    return Clip(made.key, shown[0], shown[1], [made.captions[settings.caption]], questions)


def _of_row(path: Path, key: str, row: dict[str, Any], settings: VideoSettings, spec: ImageSpec) -> Clip:
    questions = [(str(q["question"]), [str(a) for a in q["answers"]]) for q in row.get("questions", ())]

    def shown(count: int) -> list[np.ndarray]:
        pictures: list[Image.Image] = read_frames(path, count, settings.limits)
        return [to_u8(picture, spec) for picture in pictures]

    texts = [str(text) for text in row.get("texts", ())]
    frames = shown(settings.frames) if texts else []
    return Clip(key, frames, shown(settings.qa_frames) if questions else [], texts, questions)


def _answers(bundle: Bundle) -> bool:
    return isinstance(bundle.model, BLIPVQA) or answers_as_prompts(bundle)


def _retrieval(
    bundle: Bundle, clips: list[Clip], settings: VideoSettings, progress: Progress | None
) -> Outcome:
    videos, texts = [clip.frames for clip in clips], [text for clip in clips for text in clip.texts]
    owner = np.repeat(np.arange(len(clips)), [len(clip.texts) for clip in clips])
    cosine = video_cosines(bundle, videos, texts, progress)
    ways = {"": (cosine, cosine)}
    if settings.top_k and isinstance(bundle.model, BLIP) and "itm" in bundle.model.config.heads:
        reranked = rerank_videos(bundle, videos, texts, cosine, settings.top_k, progress)
        ways = {"": reranked, "_itc": ways[""]}
    positives = np.arange(len(clips))[:, None] == owner
    measures: dict[str, Measure] = {}
    for ending, (to_text, to_video) in ways.items():
        for way, ranks in (
            ("t2v", first_ranks(to_video.T, positives.T)),
            ("v2t", first_ranks(to_text, positives)),
        ):
            measures |= _ranked(f"{way}", ending, ranks, settings.seed)
    ranks = first_ranks(ways[""][1].T, positives.T)
    samples = [
        {"key": f"{clips[o].key}#{i}", "text": text, "rank": int(rank) + 1, "score": float(rank == 0)}
        for i, (text, o, rank) in enumerate(zip(texts, owner.tolist(), ranks.tolist(), strict=True))
    ]
    return Outcome(measures, samples)


def _ranked(way: str, ending: str, ranks: np.ndarray, seed: int) -> dict[str, Measure]:
    found = {f"{way}_r{k}{ending}": mean_of((ranks < k) * 1.0, seed) for k in KS}
    low, high = bootstrap_interval(ranks + 1.0, seed, lambda rows: float(np.median(rows)))
    return found | {f"{way}_median_rank{ending}": Measure(float(np.median(ranks)) + 1, low, high)}


@torch.inference_mode()
def _asked(bundle: Bundle, clips: list[Clip], settings: VideoSettings) -> Outcome:
    samples: list[dict[str, Any]] = []
    for clip in clips:
        questions = [question for question, _ in clip.questions]
        tokens = video_tokens(bundle, [clip.qa_frames])
        said = answer_tokens(bundle, tokens, questions, [0] * len(questions))
        right = accuracy(said, [accepted for _, accepted in clip.questions])
        for number, ((question, accepted), answer, score) in enumerate(
            zip(clip.questions, said, right.tolist(), strict=True)
        ):
            samples.append(
                {
                    "key": f"{clip.key}?{number}",
                    "question": question,
                    "said": answer,
                    "accepted": accepted,
                    "right": score,
                }
            )
    return Outcome({"qa_accuracy": mean_of([s["right"] for s in samples], settings.seed)}, samples)
