"""Answers of a model to the questions of a table: written, or ranked among candidates.

Implements: BLIP's two ways, three beams of at most nine tokens, and the candidate of least loss among the 128
whose first token is likeliest; a plain BLIP goes on from the question as from a prompt.
Differs: a question ends with "?" whether or not it was typed, as in training.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.3; its `blip_vqa.py` for beams and candidates.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from limner.checkpoint import Bundle
from limner.data.question_rows import QuestionRows
from limner.data.rows import Sample
from limner.data.tokenizers import WordPiece, clean_question
from limner.errors import CheckpointError
from limner.evaluate.answering import answer_looked
from limner.evaluate.pictures import Look, Progress, device_of, normed
from limner.models.bert import CrossMemory
from limner.models.blip import BLIP
from limner.models.blip_vqa import BLIPVQA
from limner.models.generate import Decoding, generate

ANSWER: Final = Decoding(method="beam", num_beams=3, max_tokens=9)
"""As BLIP's released code writes answers: three beams, 10 tokens with the first."""

QUESTION_TOKENS: Final = 35


class Candidates(NamedTuple):
    """Answers to choose from.

    Args:
        texts: the answers.
        k: how many, by their first token, are read to the end.
    """

    texts: tuple[str, ...]
    k: int = 128


class Reply(NamedTuple):
    """A question with what the model said.

    Args:
        key: of the row, and which of its questions this is: "image7#2".
        question: as asked.
        said: the model's answer.
        accepted: what people answered.
    """

    key: str
    question: str
    said: str
    accepted: tuple[str, ...]


@torch.inference_mode()
def replies(
    bundle: Bundle,
    rows: QuestionRows,
    pictures: int = 0,
    candidates: Candidates | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> list[Reply]:
    """Ask every question of the rows.

    Args:
        bundle: a `BLIPVQA`, or a BLIP trained to answer; in eval mode.
        rows: at the model's size, without augmentation.
        pictures: only the questions of the first so many; 0 is all.
        candidates: rank these; None writes answers. `BLIPVQA` only.
        batch_size: questions at a time; a picture with several is encoded once.
        progress: counts questions.
    Raises: CheckpointError when the model cannot do this.
    """
    _require(bundle, candidates)
    found: list[Reply] = []
    counts: dict[int, int] = {}
    for start in range(0, len(rows), batch_size):
        samples = rows.samples(range(start, min(start + batch_size, len(rows))), 0)
        kept = [s for s in samples if not pictures or s.image_id in counts or len(counts) < pictures]
        for sample, said in zip(kept, _said(bundle, kept, candidates), strict=True):
            number = counts[sample.image_id] = counts.get(sample.image_id, -1) + 1
            found.append(Reply(f"{sample.key}#{number}", sample.question, said, sample.answers))
        if progress:
            progress(start + len(samples), len(rows))
        if len(kept) < len(samples):
            break
    return found


def answer_tokens(
    bundle: Bundle, tokens: Float[Tensor, "b n d"], questions: Sequence[str], pictures: Sequence[int]
) -> list[str]:
    """Write answers to questions about pictures whose tokens are at hand.

    Args:
        bundle: see `replies`.
        tokens: of b pictures.
        questions: n of them.
        pictures: for each question its picture, [0, b).
    """
    model, tokenizer = bundle.model, bundle.tokenizer
    assert isinstance(tokenizer, WordPiece)
    if isinstance(model, BLIP):
        memory = model.decoder_memory(tokens)
        seen = Look(tokens[:, 0], memory, memory)  # of which the decoder's is read
        return answer_looked(bundle, seen, questions, pictures)
    memory, ids = _asked(bundle, tokens, questions, pictures)
    assert isinstance(model, BLIPVQA)
    return [tokenizer.decode(text.ids) for text in generate(model, memory, ids[:, :1], ANSWER)]


def rank_tokens(
    bundle: Bundle,
    tokens: Float[Tensor, "b n d"],
    questions: Sequence[str],
    pictures: Sequence[int],
    candidates: Candidates,
) -> list[str]:
    """The best candidate for each question; see `answer_tokens`."""
    model, tokenizer = bundle.model, bundle.tokenizer
    assert isinstance(model, BLIPVQA)
    assert isinstance(tokenizer, WordPiece)
    memory, _ = _asked(bundle, tokens, questions, pictures)
    ids, mask = tokenizer.encode_batch(candidates.texts, QUESTION_TOKENS)
    ranked = model.rank(memory, ids.to(memory.layers[0].device), mask.to(ids.device), candidates.k)
    return [candidates.texts[place] for place in ranked.answers[:, 0].tolist()]


def most_frequent(rows: QuestionRows, count: int) -> tuple[str, ...]:
    """The answers that people gave most often, to choose from; of equals, the first in the alphabet.

    Args:
        rows: of the training split.
        count: how many; the released models have 3,128.
    """
    return tuple(islice((answer for answer, _ in rows.answers()), count))


def _said(bundle: Bundle, samples: Sequence[Sample], candidates: Candidates | None) -> list[str]:
    """Answers to some questions, each picture encoded once."""
    if not samples:
        return []
    first = {sample.image_id: sample.image for sample in samples}
    place = {image_id: number for number, image_id in enumerate(first)}
    model = bundle.model
    assert isinstance(model, (BLIP, BLIPVQA))
    tokens = model.encode_image(normed(list(first.values()), bundle.image_spec, device_of(bundle)))
    questions, pictures = [s.question for s in samples], [place[s.image_id] for s in samples]
    if candidates is None:
        return answer_tokens(bundle, tokens, questions, pictures)
    return rank_tokens(bundle, tokens, questions, pictures, candidates)


def _asked(
    bundle: Bundle, tokens: Float[Tensor, "b n d"], questions: Sequence[str], pictures: Sequence[int]
) -> tuple[CrossMemory, Int[Tensor, "q t"]]:
    """What the answer decoder reads of each question, and the questions' ids."""
    model, tokenizer = bundle.model, bundle.tokenizer
    assert isinstance(model, BLIPVQA)
    assert isinstance(tokenizer, WordPiece)
    longest = min(QUESTION_TOKENS, model.config.text.max_positions)
    ids, mask = tokenizer.encode_batch([clean_question(question) for question in questions], longest)
    ids, mask = ids.to(tokens.device), mask.to(tokens.device)
    places = torch.as_tensor(np.asarray(pictures, np.int64), device=tokens.device)
    return model.question_memory(tokens[places], ids, mask), ids


def _require(bundle: Bundle, candidates: Candidates | None) -> None:
    """Raises: CheckpointError when a model cannot be asked, or not in this way."""
    model = bundle.model
    objective = bundle.recipe.get("objective") or {}
    prompted = isinstance(model, BLIP) and "lm" in model.config.heads and float(objective.get("qa", 0)) > 0
    if not isinstance(bundle.tokenizer, WordPiece) or not (isinstance(model, BLIPVQA) or prompted):
        raise CheckpointError(
            f"{bundle.path} is a {bundle.kind} that was not trained to answer questions, or has no tokenizer",
            wanted="a BLIP fine-tuned on questions, or one trained with objective.qa",
            hint="limner_tiny is one; limner train recipes/vqa_daquar.toml makes one",
        )
    if candidates is not None and not isinstance(model, BLIPVQA):
        raise CheckpointError(
            f"{bundle.path} is a {bundle.kind}, which writes answers and ranks none",
            wanted="a BLIP fine-tuned on questions to rank candidates",
            hint="--set way=write",
        )
