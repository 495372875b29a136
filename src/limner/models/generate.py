"""Writing texts about pictures with a BLIP decoder: greedy, beam search, nucleus sampling.

Implements: nucleus sampling (Holtzman et al. 2019, arXiv 1904.09751, section 3.1), the repetition penalty of
    CTRL (Keskar et al. 2019, arXiv 1909.05858, section 4.1), beam search with transformers' stopping rules.
    A picture's keys and values are computed once and shared by all its beams; the text's own are kept in a
    preallocated cache; a finished row leaves the batch.
Differs from the papers: each row draws from its own seed, so a caption does not depend on what else is in its
    batch.
Checked against: transformers' greedy and beam search; exhaustive search over a small vocabulary.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from limner.config import Config
from limner.errors import ConfigError, ShapeError
from limner.models.bert import CrossMemory, SelfCache
from limner.models.blip import BLIP
from limner.models.blip_vqa import BLIPVQA

Writer = BLIP | BLIPVQA


class Decoding(Config):
    """How a text is chosen.

    Args:
        method: "greedy" takes the likeliest token, "beam" keeps several texts, "nucleus" draws.
        max_tokens: most new tokens, [SEP] among them.
        min_tokens: new tokens before [SEP] may come.
        num_beams: texts kept by beam search.
        top_p: mass of the likeliest tokens nucleus sampling draws from, (0, 1].
        temperature: divides the logits before drawing, > 0.
        repetition_penalty: lowers the score of tokens already in the text; 1 does nothing.
        length_penalty: beam search ranks finished texts by log-probability / length ** this.
        early_stopping: beam search ends when `num_beams` texts are finished; if False, when besides the best
            unfinished one, at its present length, cannot beat the worst of them.
    """

    method: Literal["greedy", "beam", "nucleus"] = "greedy"
    max_tokens: int = Field(default=20, ge=1)
    min_tokens: int = Field(default=0, ge=0)
    num_beams: int = Field(default=3, ge=1)
    top_p: float = Field(default=0.9, gt=0, le=1)
    temperature: float = Field(default=1.0, gt=0)
    repetition_penalty: float = Field(default=1.0, gt=0)
    length_penalty: float = 1.0
    early_stopping: bool = False


class Generated(NamedTuple):
    """One written text.

    Args:
        ids: new tokens, without the prompt and [SEP].
        log_prob: natural log of the model's probability of the new tokens, [SEP] among them when written;
            penalties, temperature and `top_p` do not touch it.
    """

    ids: list[int]
    log_prob: float


@torch.no_grad()
def generate(
    model: Writer,
    memory: CrossMemory,
    prompt_ids: Int[Tensor, "b p"],
    decoding: Decoding,
    seeds: Int[Tensor, " b"] | None = None,
) -> list[Generated]:
    """Continue one prompt for each row.

    Args:
        model: in eval mode.
        memory: from `decoder_memory`, or `question_memory` of a VQA model; with g prompts a picture, rows
            i·g … i·g + g − 1 tell of picture i.
        prompt_ids: all of one length, without [SEP]; token 0 is replaced by [DEC].
        decoding: how to choose.
        seeds: one a row; only nucleus sampling needs them.
    Returns: one text a row.
    Raises: ConfigError when the model cannot write, or nucleus sampling has no seeds; ShapeError when a text
        could outgrow positions.
    """
    if isinstance(model, BLIP):
        model.require("lm", "generate")
    longest = prompt_ids.shape[1] + decoding.max_tokens - 1
    if longest > model.config.text.max_positions:
        raise ShapeError(
            f"a prompt of {prompt_ids.shape[1]} tokens and max_tokens={decoding.max_tokens}",
            wanted=f"at most {model.config.text.max_positions} positions",
            hint="lower max_tokens",
        )
    if memory.num_rows != len(prompt_ids):
        pictures = torch.arange(memory.num_rows, device=prompt_ids.device)
        memory = memory.rows(pictures.repeat_interleave(len(prompt_ids) // memory.num_rows))
    if decoding.method == "beam":
        return _beam(model, memory, prompt_ids, decoding)
    draws = None
    if decoding.method == "nucleus":
        if seeds is None:
            raise ConfigError("nucleus sampling without seeds", wanted="one seed a row")
        draws = _uniform(seeds, decoding.max_tokens)
    return _one_by_one(model, memory, prompt_ids, decoding, draws)


class _Writer:
    """A decoder in the middle of a batch of texts.

    Args:
        model: gives the decoder.
        memory: of the pictures.
        prompt_ids: first tokens of each text; token 0 is replaced by [DEC].
        decoding: gives the most tokens and the penalties.
    """

    def __init__(self, model: Writer, memory: CrossMemory, prompt_ids: Tensor, decoding: Decoding) -> None:
        self.model, self.memory, self.decoding = model, memory, decoding
        self.unread = prompt_ids.clone()
        self.unread[:, 0] = model.config.dec_id
        room = prompt_ids.shape[1] + decoding.max_tokens
        self.cache = SelfCache(model.config.text, len(prompt_ids), room, memory.layers[0])
        self.step = 0
        self.used = torch.zeros(len(prompt_ids), model.config.text.vocab_size, dtype=torch.bool)
        self.used = self.used.to(prompt_ids.device).scatter_(1, self.unread, True)

    def logits(self) -> Float[Tensor, "b v"]:
        """Read what is unread and score the token that follows."""
        states = self.model.text_decoder(self.unread, memory=self.memory, causal=True, cache=self.cache)
        return self.model.write(states[:, -1:])[:, 0].float()

    def penalised(self, scores: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
        """Lower the scores of used tokens, and forbid [SEP] while a text is too short."""
        penalty = self.decoding.repetition_penalty
        if penalty != 1:
            lowered = torch.where(scores > 0, scores / penalty, scores * penalty)
            scores = torch.where(self.used, lowered, scores)
        if self.step < self.decoding.min_tokens:
            scores = scores.clone()
            scores[:, self.model.config.sep_id] = -torch.inf
        return scores

    def go_on(self, rows: Tensor | None, tokens: Tensor, pictures: Tensor | None = None) -> None:
        """Append a token to each text.

        Args:
            rows: texts to keep, in this order; None keeps all.
            tokens: one for each text kept.
            pictures: memory rows to keep; None keeps all.
        """
        if rows is not None:
            self.cache.select(rows)
            self.used = self.used[rows]
        if pictures is not None:
            self.memory = self.memory.rows(pictures)
        self.unread = tokens[:, None]
        self.used.scatter_(1, self.unread, True)
        self.step += 1


def _one_by_one(
    model: Writer, memory: CrossMemory, prompt_ids: Tensor, decoding: Decoding, draws: Tensor | None
) -> list[Generated]:
    """Choose one token a step: the likeliest, or by each row's draws."""
    writer = _Writer(model, memory, prompt_ids, decoding)
    sep_id = model.config.sep_id
    rows = torch.arange(len(prompt_ids), device=prompt_ids.device)
    written = torch.full((len(rows), decoding.max_tokens), sep_id, device=rows.device)
    log_probs = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for step in range(decoding.max_tokens):
        logits = writer.logits()
        scores = writer.penalised(logits)
        if draws is None:
            tokens = scores.argmax(1)
        else:
            tokens = _draw(scores / decoding.temperature, decoding.top_p, draws[rows, step])
        written[rows, step] = tokens
        log_probs[rows] += logits.log_softmax(1).gather(1, tokens[:, None])[:, 0]
        going = (tokens != sep_id).nonzero()[:, 0]
        if len(going) == 0:
            break
        kept = None if len(going) == len(rows) else going
        rows = rows[going]
        writer.go_on(kept, tokens[going], kept)
    return [_generated(ids, p, sep_id) for ids, p in zip(written.tolist(), log_probs.tolist(), strict=True)]


def _generated(ids: list[int], log_prob: float, sep_id: int) -> Generated:
    return Generated(ids[: ids.index(sep_id)] if sep_id in ids else ids, log_prob)


def _uniform(seeds: Tensor, count: int) -> Float[Tensor, "b s"]:
    """Return `count` numbers of [0, 1) for each seed."""
    rows = [torch.rand(count, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
    return torch.stack(rows).to(seeds.device)


def _draw(scores: Float[Tensor, "b v"], top_p: float, uniform: Float[Tensor, " b"]) -> Int[Tensor, " b"]:
    """Draw from the fewest likeliest tokens whose mass reaches `top_p`, by inverting their distribution."""
    mass, tokens = scores.softmax(1).sort(dim=1, descending=True, stable=True)
    before = mass.cumsum(1) - mass
    mass = mass.where(before < top_p, 0.0)
    upto = mass.cumsum(1)
    place = (upto <= uniform[:, None] * upto[:, -1:]).sum(1, keepdim=True)
    last = (mass > 0).sum(1, keepdim=True) - 1
    return tokens.gather(1, torch.minimum(place, last))[:, 0]


class _Text(NamedTuple):
    """A text in beam search: what it is ranked by, its new tokens, the model's log-probability of them."""

    score: float
    ids: list[int]
    log_prob: float


class _Row:
    """Beam search of one row.

    Args:
        number: place in the batch.
        decoding: how many beams, and when to stop.
        sep_id: token that ends a text.
    """

    def __init__(self, number: int, decoding: Decoding, sep_id: int) -> None:
        self.number, self.decoding, self.sep_id = number, decoding, sep_id
        self.beams = [_Text(0.0 if i == 0 else -1e9, [], 0.0) for i in range(decoding.num_beams)]
        self.finished: list[_Text] = []
        self.origins: list[int] = []

    def extend(self, candidates: list[tuple[int, _Text]]) -> bool:
        """Take the best continuations, twice as many as beams, best first; tell whether to go on.

        Args:
            candidates: the beam each comes from, and the text with its new token.
        """
        beams, length = self.decoding.num_beams, len(candidates[0][1].ids)
        at_end = length == self.decoding.max_tokens
        ends = [at_end or text.ids[-1] == self.sep_id for _, text in candidates]
        for (_, text), end in zip(candidates[:beams], ends, strict=False):
            if end:
                self.finished.append(text._replace(score=self._ranked(text.score, length)))
        self.finished = sorted(self.finished, key=lambda text: -text.score)[:beams]
        going = [candidate for candidate, end in zip(candidates, ends, strict=True) if not end][:beams]
        self.origins, self.beams = [origin for origin, _ in going], [text for _, text in going]
        if at_end or len(self.finished) < beams:
            return not at_end
        hopeless = self._ranked(self.beams[0].score, length) <= self.finished[-1].score
        return not (self.decoding.early_stopping or hopeless)

    def _ranked(self, score: float, length: int) -> float:
        return float(score / length**self.decoding.length_penalty)


def _beam(model: Writer, memory: CrossMemory, prompt_ids: Tensor, decoding: Decoding) -> list[Generated]:
    """Keep the best `num_beams` texts of each row at every step."""
    device, sep_id = prompt_ids.device, model.config.sep_id
    writer = _Writer(model, memory, prompt_ids.repeat_interleave(decoding.num_beams, 0), decoding)
    rows = [_Row(number, decoding, sep_id) for number in range(len(prompt_ids))]
    going = rows
    while going:
        continuations = _continuations(writer, going)
        alive = [i for i, row in enumerate(going) if row.extend(continuations[i])]
        origins = [i * decoding.num_beams + origin for i in alive for origin in going[i].origins]
        pictures = None if len(alive) == len(going) else torch.tensor(alive, device=device)
        going = [going[i] for i in alive]
        if going:
            tokens = torch.tensor([text.ids[-1] for row in going for text in row.beams], device=device)
            writer.go_on(torch.tensor(origins, device=device), tokens, pictures)
    return [_generated(row.finished[0].ids, row.finished[0].log_prob, sep_id) for row in rows]


def _continuations(writer: _Writer, rows: list[_Row]) -> list[list[tuple[int, _Text]]]:
    """Return each row's best continuations over all its beams, twice as many as beams, best first."""
    log_probs = writer.logits().log_softmax(1)
    words = log_probs.shape[1]
    so_far = log_probs.new_tensor([[text.score for text in row.beams] for row in rows])
    scores = writer.penalised(log_probs).view(len(rows), -1, words) + so_far[:, :, None]
    best, places = scores.flatten(1).topk(2 * so_far.shape[1])
    gains = log_probs.view(len(rows), -1).gather(1, places)
    result = []
    for row, values, indices, gained in zip(
        rows, best.tolist(), places.tolist(), gains.tolist(), strict=True
    ):
        texts = []
        for value, index, gain in zip(values, indices, gained, strict=True):
            beam, token = divmod(index, words)
            before = row.beams[beam]
            texts.append((beam, _Text(value, [*before.ids, token], before.log_prob + gain)))
        result.append(texts)
    return result
