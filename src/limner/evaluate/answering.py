"""Questions about pictures, answered by the decoder that goes on from the question.

Implements: accuracy of the greedy answer to a prompt "[CLS] question ?", overall and by kind of question.
Differs: BLIP's VQA model reads the question by its encoder first; this is the decoder as trained with `qa`.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.3.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8

from limner.checkpoint import Bundle
from limner.evaluate.metrics import accuracy
from limner.evaluate.pictures import Look, Progress, blip_of, device_of, looks
from limner.models.generate import Decoding, generate

ANSWER = Decoding(method="greedy", max_tokens=8)


@torch.inference_mode()
def answer_looked(bundle: Bundle, seen: Look, questions: Sequence[str], rows: Sequence[int]) -> list[str]:
    """Answer questions about pictures that were looked at.

    Args:
        bundle: a BLIP trained to answer.
        seen: b pictures.
        questions: n of them.
        rows: for each question its picture, [0, b).
    Returns: one answer a question.
    """
    model, tokenizer = blip_of(bundle)
    prompts = [prompt for prompt, _ in tokenizer.encode_questions(questions, [""] * len(questions))]
    by_length: defaultdict[int, list[int]] = defaultdict(list)  # a batch of prompts has one length
    for place, prompt in enumerate(prompts):
        by_length[len(prompt)].append(place)
    answers = [""] * len(questions)
    device = device_of(bundle)
    for places in by_length.values():
        memory = seen.decoder.rows(torch.tensor([rows[p] for p in places], device=device))
        ids = torch.tensor([prompts[p] for p in places], device=device)
        for place, generated in zip(places, generate(model, memory, ids, ANSWER, None), strict=True):
            answers[place] = tokenizer.decode(generated.ids)
    return answers


def answers(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    questions: Sequence[Sequence[str]],
    batch_size: int = 64,
    progress: Progress | None = None,
) -> list[list[str]]:
    """Answer the questions of each picture.

    Args:
        bundle: a BLIP trained to answer.
        images: u8 pixels at the model's size.
        questions: any number for each picture.
        batch_size: pictures at a time.
        progress: counts pictures.
    Returns: answers in the layout of `questions`.
    """
    result: list[list[str]] = []
    for batch, seen in looks(bundle, images, batch_size, progress):
        rows = [row for row, i in enumerate(batch) for _ in questions[i]]
        flat = iter(answer_looked(bundle, seen, [q for i in batch for q in questions[i]], rows))
        result += [[next(flat) for _ in questions[i]] for i in batch]
    return result


def question_kind(question: str) -> str:
    """What a question asks for: "how_many", "colour", "what" or "yes_no"."""
    words = question.lower().split()[:2]
    if words[:1] == ["how"]:
        return "how_many"
    if words[:1] != ["what"]:
        return "yes_no"
    return "colour" if words[1:] in (["colour"], ["color"]) else "what"


def answer_quality(
    found: Sequence[str], questions: Sequence[str], accepted: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Score answers.

    Args:
        found: one answer a question.
        questions: their wording gives their kind.
        accepted: the right answers of each question.
    Returns: `answers`, the share that is right, and the same for each kind that occurs (`answers_how_many`).
    """
    right = accuracy(found, accepted)
    kinds = np.array([question_kind(question) for question in questions])
    shares = {f"answers_{kind}": float(right[kinds == kind].mean()) for kind in sorted(set(kinds.tolist()))}
    return {"answers": float(right.mean())} | shares


def answering(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    questions: Sequence[Sequence[str]],
    accepted: Sequence[Sequence[Sequence[str]]],
    batch_size: int = 64,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Ask a model and score its answers.

    Args:
        bundle: a BLIP trained to answer.
        images: u8 pixels at the model's size.
        questions: any number for each picture.
        accepted: the right answers of each question, in the layout of `questions`.
        batch_size: pictures at a time.
        progress: counts pictures.
    Returns: see `answer_quality`.
    """
    found = answers(bundle, images, questions, batch_size, progress)
    asked = [question for row in questions for question in row]
    right = [answer for row in accepted for answer in row]
    return answer_quality([answer for row in found for answer in row], asked, right)
