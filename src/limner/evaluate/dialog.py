"""Visual dialogue: rank the candidate answers of each round by what was seen and said before.

Implements: dense ranking by the matching head of the image-grounded text encoder, which reads history,
    question and candidate, its memory being the picture's tokens and the caption's states one after the
    other (the paper's model, of which no code was released); or the caption as words before the history;
    or the log-likelihood of the candidate under the decoder. MRR, R@1/5/10, mean rank, NDCG.
Differs: a history that is too long loses its oldest words, never the candidate. The caption's states fit
    where text and picture are equally wide (ViT-B).
Checked against: loops from the definitions, and a candidate at a time.

Source: Li et al. 2022 (BLIP, arXiv 2201.12086), section 5.5; Das et al. 2017 (Visual Dialog, arXiv
1611.08669).
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Tensor

from limner.checkpoint import Bundle
from limner.config import Config
from limner.data.dialogues import Dialogue, Round
from limner.errors import ConfigError, DataError
from limner.evaluate.metrics import first_ranks
from limner.evaluate.pictures import Progress, blip_of, device_of, normed
from limner.models.bert import CrossMemory

KS = (1, 5, 10)


class DialogSettings(Config):
    """What the model reads of a dialogue, and by what it ranks.

    Args:
        way: "itm", the matching head; "lm", the log-likelihood of the candidate; "lm_mean", the same a token.
        caption: "states" beside the picture's tokens as in the paper, with "itm"; "text" before the history;
            or "none".
        history: rounds before the question that are read, the last ones; -1 is all.
        max_tokens: of history, question and candidate.
        batch_size: pictures at a time through the vision tower.
    """

    way: Literal["itm", "lm", "lm_mean"] = "itm"
    caption: Literal["states", "text", "none"] = "states"
    history: int = Field(default=-1, ge=-1)
    max_tokens: int = Field(default=256, ge=8)
    batch_size: int = Field(default=16, ge=1)


class DialogRanks(NamedTuple):
    """How the candidates of the rounds were ranked, one number a round that has candidates.

    Args:
        rank: of the right answer, from 1.
        ndcg: of the whole order, NaN where nobody judged relevance.
    """

    rank: Float[np.ndarray, " n"]
    ndcg: Float[np.ndarray, " n"]


def dialog_scores(
    bundle: Bundle,
    images: Sequence[UInt8[np.ndarray, "y x 3"]],
    dialogues: Sequence[Dialogue],
    settings: DialogSettings,
    progress: Progress | None = None,
) -> list[list[Float[np.ndarray, " _"]]]:
    """Score the candidates of every round; more is better.

    Args:
        bundle: a BLIP with the head that the way needs.
        images: u8 pixels at the model's size, one a dialogue.
        dialogues: what was said.
        settings: what is read.
        progress: counts pictures.
    Returns: for each dialogue the scores of the rounds that have candidates.
    Raises: ConfigError when the caption's states do not fit the model or the way; CheckpointError for
    another model.
    """
    model, _ = blip_of(bundle)
    model.require("itm" if settings.way == "itm" else "lm", "dialogues")
    same_width = model.config.vision.width == model.config.text.width
    if settings.caption == "states" and settings.way == "itm" and not same_width:
        raise ConfigError(
            f"states of {model.config.text.width} beside a picture of {model.config.vision.width}",
            wanted="a model whose text is as wide as its pictures",
            hint="--set caption=text",
        )
    found = []
    for start in range(0, len(images), settings.batch_size):
        batch = images[start : start + settings.batch_size]
        with torch.inference_mode():
            tokens = model.encode_image(normed(batch, bundle.image_spec, device_of(bundle)))
        for row, dialogue in enumerate(dialogues[start : start + len(batch)]):
            found.append(_scored(bundle, tokens[row : row + 1], dialogue, settings))
        if progress:
            progress(start + len(batch), len(images))
    return found


@torch.inference_mode()
def _scored(
    bundle: Bundle, tokens: Float[Tensor, "1 n d"], dialogue: Dialogue, settings: DialogSettings
) -> list[Float[np.ndarray, " _"]]:
    """Score one dialogue; its picture's keys and values are computed once."""
    model, _ = blip_of(bundle)
    if settings.way == "itm":
        memory = _with_caption(bundle, tokens, dialogue.caption, settings)
        return [_matched(bundle, memory, said, turn, settings) for said, turn in _turns(dialogue, settings)]
    memory = model.decoder_memory(tokens)
    return [_likely(bundle, memory, said, turn, settings) for said, turn in _turns(dialogue, settings)]


def _turns(dialogue: Dialogue, settings: DialogSettings) -> Iterator[tuple[str, Round]]:
    """What was said before each question that has candidates, the question with it."""
    heard = settings.caption == "text" or (settings.caption == "states" and settings.way != "itm")
    for number, turn in enumerate(dialogue.rounds):
        if not turn.options:
            continue
        first = 0 if settings.history < 0 else max(0, number - settings.history)
        said = [f"{_asked(r.question)} {r.answer}" for r in dialogue.rounds[first:number]]
        yield " ".join([*([dialogue.caption] if heard else []), *said, _asked(turn.question)]), turn


def _asked(question: str) -> str:
    return question.rstrip(" ?") + "?"


def _with_caption(
    bundle: Bundle, tokens: Float[Tensor, "1 n d"], caption: str, settings: DialogSettings
) -> CrossMemory:
    """Keys and values of the picture, and of the caption's states after it."""
    model, tokenizer = blip_of(bundle)
    if settings.caption == "states":
        ids = torch.tensor([tokenizer.encode(caption, _room(bundle, settings))], device=tokens.device)
        tokens = torch.cat([tokens, model.text_encoder(ids)], dim=1)
    return model.encoder_memory(tokens)


def _room(bundle: Bundle, settings: DialogSettings) -> int:
    return min(settings.max_tokens, blip_of(bundle)[0].config.text.max_positions)


def _rows(
    bundle: Bundle, said: str, options: Sequence[str], settings: DialogSettings
) -> tuple[list[list[int]], list[int]]:
    """Ids [CLS] history question candidate [SEP] of each candidate, and where its candidate begins."""
    _, tokenizer = blip_of(bundle)
    room = _room(bundle, settings)
    before = tokenizer.encode(said, 100_000)[1:-1]
    rows, starts = [], []
    for option in options:
        reply = tokenizer.encode(option, room - 1)[1:-1]
        kept = before[max(0, len(before) - (room - 2 - len(reply))) :] if len(reply) < room - 2 else []
        rows.append([tokenizer.cls_id, *kept, *reply, tokenizer.sep_id])
        starts.append(1 + len(kept))
    return rows, starts


def _matched(
    bundle: Bundle, memory: CrossMemory, said: str, turn: Round, settings: DialogSettings
) -> Float[np.ndarray, " c"]:
    model, tokenizer = blip_of(bundle)
    rows, _ = _rows(bundle, said, turn.options, settings)
    ids, mask = (part.to(device_of(bundle)) for part in tokenizer.pad(rows))
    logits = model.match(memory, ids, mask)
    scores: np.ndarray = (logits[:, 1] - logits[:, 0]).double().cpu().numpy()
    return scores


def _likely(
    bundle: Bundle, memory: CrossMemory, said: str, turn: Round, settings: DialogSettings
) -> Float[np.ndarray, " c"]:
    """Log-probability of each candidate with its end, after all that was said."""
    model, tokenizer = blip_of(bundle)
    rows, starts = _rows(bundle, said, turn.options, settings)
    ids, mask = (part.to(device_of(bundle)) for part in tokenizer.pad(rows))
    told = model.decode(memory, ids)[:, :-1].float().log_softmax(-1)
    each = told.gather(2, ids[:, 1:, None])[:, :, 0].double()
    place = torch.arange(1, ids.shape[1], device=ids.device)
    counted = mask[:, 1:] & (place >= torch.tensor(starts, device=ids.device)[:, None])
    scores = each.where(counted, 0.0).sum(1)
    if settings.way == "lm_mean":
        scores = scores / counted.sum(1)
    plain: np.ndarray = scores.cpu().numpy()
    return plain


def dialog_ranks(
    dialogues: Sequence[Dialogue], scores: Sequence[Sequence[Float[np.ndarray, " _"]]]
) -> DialogRanks:
    """Rank of the right answer and NDCG of every round that has candidates.

    Args:
        dialogues: the truth.
        scores: of `dialog_scores`.
    Raises: DataError when a score is not finite, or none was given.
    """
    ranks, gains = [], []
    for dialogue, own in zip(dialogues, scores, strict=True):
        for turn, score in zip((r for r in dialogue.rounds if r.options), own, strict=True):
            right = np.arange(len(score)) == turn.right
            ranks.append(float(first_ranks(score[None], right[None])[0]) + 1)
            gains.append(ndcg(score, np.array(turn.relevance)) if turn.relevance else float("nan"))
    if not ranks:
        raise DataError("no round has candidates to rank", wanted="dialogues with answer options")
    return DialogRanks(np.array(ranks), np.array(gains))


def ndcg(scores: Float[np.ndarray, " c"], relevance: Float[np.ndarray, " c"]) -> float:
    """Normalised discounted gain of the first k, k being how many candidates are relevant at all.

    Args:
        scores: of the candidates; among equal ones the later comes first, as in `first_ranks`.
        relevance: of the candidates, [0, 1].
    Returns: [0, 1]; NaN when no candidate is relevant.
    Source: VisDial challenge 2018; Järvelin & Kekäläinen 2002.
    """
    k = int((relevance > 0).sum())
    if not k:
        return float("nan")
    discount = np.log2(np.arange(k) + 2)
    order = np.argsort(scores, kind="stable")[::-1][:k]
    best = np.sort(relevance)[::-1][:k]
    return float((relevance[order] / discount).sum() / (best / discount).sum())


def dialog_quality(ranks: DialogRanks) -> dict[str, float]:
    """The numbers of BLIP's Table 9, and NDCG.

    Args:
        ranks: of `dialog_ranks`.
    Returns: `mrr`, `r1`, `r5`, `r10`, `mean_rank`; `ndcg` where relevance was judged.
    """
    found = {"mrr": float(np.mean(1 / ranks.rank))}
    found |= {f"r{k}": float(np.mean(ranks.rank <= k)) for k in KS}
    found["mean_rank"] = float(ranks.rank.mean())
    judged = ranks.ndcg[~np.isnan(ranks.ndcg)]
    return found | ({"ndcg": float(judged.mean())} if len(judged) else {})
