"""Writing texts about pictures with a BLIP decoder: greedy, beam search, nucleus sampling.

Implements: nucleus sampling (Holtzman et al. 2019, arXiv 1904.09751, section 3.1) and top-k (Fan et al. 2018,
    arXiv 1805.04833, section 5.4), beam search with transformers' stopping rules; the rules of words are in
    `decoding`. A picture's keys and values are computed once and shared by all its beams and samples; the
    text's own are kept in a preallocated cache; what is finished leaves the batch.
Differs from the papers: each row draws from its own seed, so a caption does not depend on what else is in its
    batch.
Checked against: transformers' greedy and beam search; exhaustive search over a small vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from limner.errors import ConfigError, ShapeError
from limner.models.bert import CrossMemory
from limner.models.blip import BLIP
from limner.models.decoding import Decoding, ruled
from limner.models.packed import Decoder, Writer, decoder_of
from limner.models.self_cache import SelfCache, StaticCache

__all__ = ["Decoding", "Generated", "Writer", "generate"]


class Generated(NamedTuple):
    """One written text.

    Args:
        ids: new tokens, without the prompt and [SEP].
        log_probs: natural log of the model's probability of each new token, [SEP] among them when written;
            penalties, temperature, `top_k` and `top_p` do not touch it.
    """

    ids: list[int]
    log_probs: list[float]

    @property
    def log_prob(self) -> float:
        """Natural log of the model's probability of the text."""
        return sum(self.log_probs)


@torch.no_grad()
def generate(
    model: Writer,
    memory: CrossMemory,
    prompt_ids: Int[Tensor, "b p"],
    decoding: Decoding,
    seeds: Int[Tensor, " b"] | None = None,
    *,
    count: int = 1,
    static: bool = False,
) -> list[Generated]:
    """Continue one prompt for each row.

    On a CPU in fp32 the decoder's matrices are packed first, and stay packed as long as the model lives.

    Args:
        model: in eval mode.
        memory: from `decoder_memory`, or `question_memory` of a VQA model; with g prompts a picture, rows
            i·g … i·g + g − 1 tell of picture i.
        prompt_ids: all of one length, without [SEP]; token 0 is replaced by [DEC].
        decoding: how to choose.
        seeds: one a row; only nucleus sampling needs them.
        count: texts a row, best first; more than one only by beam search.
        static: keep every shape the same from step to step, for a model whose `text_decoder` is compiled;
            finished rows then stay to the end.
    Returns: `count` texts a row.
    Raises: ConfigError when the model cannot write, nucleus sampling has no seeds, or `count` is more than
        the beams; ShapeError when a text could outgrow positions.
    """
    _check(model, prompt_ids, decoding, count)
    if decoding.method == "beam":
        pictures = torch.arange(memory.num_rows, device=prompt_ids.device)
        if (each := len(prompt_ids) // memory.num_rows) > 1:
            memory = memory.rows(pictures.repeat_interleave(each))
        writer = _Writer(model, memory, prompt_ids.repeat_interleave(decoding.num_beams, 0), decoding, static)
        return _beam(writer, count)
    draws = None
    if decoding.method == "nucleus":
        if seeds is None:
            raise ConfigError("nucleus sampling without seeds", wanted="one seed a row")
        draws = _uniform(seeds, decoding.max_tokens)
    return _one_by_one(_Writer(model, memory, prompt_ids, decoding, static), draws)


def _check(model: Writer, prompt_ids: Tensor, decoding: Decoding, count: int) -> None:
    if isinstance(model, BLIP):
        model.require("lm", "generate")
    if count > (most := decoding.num_beams if decoding.method == "beam" else 1):
        raise ConfigError(
            f"{count} texts a row by {decoding.method!r}, which keeps {most}",
            wanted="beam search with as many beams",
            hint=f'method = "beam", num_beams = {count}',
        )
    longest = prompt_ids.shape[1] + decoding.max_tokens - 1
    if longest > model.config.text.max_positions:
        raise ShapeError(
            f"a prompt of {prompt_ids.shape[1]} tokens and max_tokens={decoding.max_tokens}",
            wanted=f"at most {model.config.text.max_positions} positions",
            hint="lower max_tokens",
        )


class _Writer:
    """A decoder in the middle of a batch of texts, as many for each picture.

    Args:
        model: gives the decoder.
        memory: of the pictures.
        prompt_ids: first tokens of each text; token 0 is replaced by [DEC].
        decoding: gives the most tokens and the rules.
        static: no row leaves.
    """

    def __init__(
        self, model: Writer, memory: CrossMemory, prompt_ids: Tensor, decoding: Decoding, static: bool
    ) -> None:
        self.memory, self.decoding, self.static = memory, decoding, static
        self.sep_id = model.config.sep_id
        self.decoder = Decoder(model.text_decoder, model.write) if static else decoder_of(model)
        self.unread = prompt_ids.clone()
        self.unread[:, 0] = model.config.dec_id
        cache = StaticCache if static else SelfCache
        room = prompt_ids.shape[1] + decoding.max_tokens
        self.cache = cache(model.config.text, len(prompt_ids), room, memory.layers[0])
        self.step = 0
        self.texts: list[list[int]] = self.unread.tolist()
        self.used = torch.zeros(len(prompt_ids), model.config.text.vocab_size, dtype=torch.bool)
        self.used = self.used.to(prompt_ids.device).scatter_(1, self.unread, True)

    @property
    def num_pictures(self) -> int:
        """Pictures still told of."""
        return self.memory.num_rows

    def logits(self) -> Float[Tensor, "b v"]:
        """Read what is unread and score the token that follows."""
        states = self.decoder.tower(self.unread, memory=self.memory, causal=True, cache=self.cache)
        return self.decoder.score(states[:, -1:])[:, 0].float()

    def ruled(self, scores: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
        """Change scores as the rules want it."""
        return ruled(scores, self.used, self.texts, self.step, self.decoding, self.sep_id)

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
        if self.decoding.looks_back:
            kept = self.texts if rows is None else [self.texts[row] for row in rows.tolist()]
            self.texts = [[*text, token] for text, token in zip(kept, tokens.tolist(), strict=True)]
        self.unread = tokens[:, None]
        self.used.scatter_(1, self.unread, True)
        self.step += 1


def _one_by_one(writer: _Writer, draws: Tensor | None) -> list[Generated]:
    """Choose one token a step: the likeliest, or by each row's draws."""
    decoding, sep_id, device = writer.decoding, writer.sep_id, writer.unread.device
    rows = torch.arange(len(writer.unread), device=device)
    going = torch.ones_like(rows, dtype=torch.bool)
    written = torch.full((len(rows), decoding.max_tokens), sep_id, device=device)
    log_probs = torch.zeros(len(rows), decoding.max_tokens, device=device)
    for step in range(decoding.max_tokens):
        logits = writer.logits()
        scores = writer.ruled(logits)
        tokens = scores.argmax(1) if draws is None else _draw(scores, decoding, draws[rows, step])
        tokens = tokens.where(going, sep_id)
        told = logits.log_softmax(1).gather(1, tokens[:, None])[:, 0]
        written[rows, step], log_probs[rows, step] = tokens, told.where(going, 0.0)
        going = going & (tokens != sep_id)
        if not going.any():
            break
        kept, pictures = (None, None) if writer.static else _left(going, writer.num_pictures)
        if kept is not None:
            rows, going, tokens = rows[kept], going[kept], tokens[kept]
        writer.go_on(kept, tokens, pictures)
    texts = zip(written.tolist(), log_probs.tolist(), strict=True)
    return [_generated(ids, told, sep_id) for ids, told in texts]


def _left(going: Tensor, num_pictures: int) -> tuple[Tensor | None, Tensor | None]:
    """Which rows and pictures stay: all pictures have as many rows, so a finished one may have to fill up.

    Returns: rows, and pictures; None where all stay.
    """
    table = going.view(num_pictures, -1)
    width = int(table.sum(1).max())
    pictures = table.any(1).nonzero()[:, 0]
    if width == table.shape[1] and len(pictures) == num_pictures:
        return None, None
    first = table[pictures].to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :width]
    rows = (pictures[:, None] * table.shape[1] + first).flatten()
    return rows, None if len(pictures) == num_pictures else pictures


def _generated(ids: list[int], log_probs: list[float], sep_id: int) -> Generated:
    end = ids.index(sep_id) if sep_id in ids else len(ids)
    return Generated(ids[:end], log_probs[: end + 1])


def _uniform(seeds: Tensor, count: int) -> Float[Tensor, "b s"]:
    """Return `count` numbers of [0, 1) for each seed."""
    rows = [torch.rand(count, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
    return torch.stack(rows).to(seeds.device)


def _draw(
    scores: Float[Tensor, "b v"], decoding: Decoding, uniform: Float[Tensor, " b"]
) -> Int[Tensor, " b"]:
    """Draw from the fewest likeliest tokens whose mass reaches `top_p`, by inverting their distribution."""
    mass = (scores / decoding.temperature).softmax(1)
    if 0 < decoding.top_k < mass.shape[1]:
        mass = mass.where(mass >= mass.topk(decoding.top_k).values[:, -1:], 0.0)
        mass = mass / mass.sum(1, keepdim=True)
    upto = _likeliest(mass, decoding.top_p).cumsum(1)
    whole = upto[:, -1:].contiguous()
    place = torch.searchsorted(upto, uniform[:, None] * whole, right=True)
    return torch.minimum(place, torch.searchsorted(upto, whole))[:, 0]


def _likeliest(mass: Float[Tensor, "b v"], top_p: float) -> Float[Tensor, "b v"]:
    """Set to 0 what is less likely than the nucleus; of equals, all stay."""
    ordered = _sorted(mass)
    upto = ordered.cumsum(1, dtype=torch.float64)
    first = torch.searchsorted(upto, upto[:, -1:] - top_p, right=True)
    return mass * (mass >= ordered.gather(1, first.clamp(max=mass.shape[1] - 1)))


def _sorted(mass: Float[Tensor, "b v"]) -> Float[Tensor, "b v"]:
    """Each row in ascending order; on a CPU by numpy, in a tenth of torch's time."""
    if mass.device.type != "cpu":
        return mass.sort(dim=1).values
    return torch.from_numpy(np.sort(mass.numpy(), axis=1))


class _Text(NamedTuple):
    """A text in beam search: what it is ranked by, its new tokens, the model's log-probability of each."""

    score: float
    ids: list[int]
    log_probs: list[float]


class _Row:
    """Beam search of one row.

    Args:
        decoding: how many beams, and when to stop.
        sep_id: token that ends a text.
    """

    def __init__(self, decoding: Decoding, sep_id: int) -> None:
        self.decoding, self.sep_id = decoding, sep_id
        self.beams = [_Text(0.0 if i == 0 else -1e9, [], []) for i in range(decoding.num_beams)]
        self.finished: list[_Text] = []
        self.origins: list[int] = []
        self.going = True

    def extend(self, candidates: Sequence[tuple[int, _Text]]) -> None:
        """Take the best continuations, twice as many as beams, best first; note whether to go on.

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
        self.going = not at_end and (len(self.finished) < beams or self._may_improve(length))

    def stand(self) -> None:
        """Stay as it is, finished."""
        self.origins = list(range(len(self.beams)))

    def _may_improve(self, length: int) -> bool:
        hopeless = self._ranked(self.beams[0].score, length) <= self.finished[-1].score
        return not (self.decoding.early_stopping or hopeless)

    def _ranked(self, score: float, length: int) -> float:
        return float(score / length**self.decoding.length_penalty)


def _beam(writer: _Writer, count: int) -> list[Generated]:
    """Keep the best `num_beams` texts of each row at every step, and return the best `count`."""
    decoding, device = writer.decoding, writer.unread.device
    beams = decoding.num_beams
    rows = [_Row(decoding, writer.sep_id) for _ in range(writer.num_pictures)]
    now = rows
    while any(row.going for row in now):
        for row, candidates in zip(now, _continuations(writer, now), strict=True):
            row.extend(candidates) if row.going else row.stand()
        alive = [i for i, row in enumerate(now) if row.going or writer.static]
        if not any(now[i].going for i in alive):
            break
        origins = [i * beams + origin for i in alive for origin in now[i].origins]
        pictures = None if len(alive) == len(now) else torch.tensor(alive, device=device)
        moved = origins != list(range(len(now) * beams))
        now = [now[i] for i in alive]
        tokens = torch.tensor([text.ids[-1] for row in now for text in row.beams], device=device)
        writer.go_on(torch.tensor(origins, device=device) if moved else None, tokens, pictures)
    best = [text for row in rows for text in row.finished[:count]]
    return [_generated(text.ids, text.log_probs, writer.sep_id) for text in best]


def _continuations(writer: _Writer, rows: list[_Row]) -> list[list[tuple[int, _Text]]]:
    """Return each row's best continuations over all its beams, twice as many as beams, best first."""
    log_probs = writer.logits().log_softmax(1)
    words = log_probs.shape[1]
    so_far = log_probs.new_tensor([[text.score for text in row.beams] for row in rows])
    scores = writer.ruled(log_probs).view(len(rows), -1, words) + so_far[:, :, None]
    best, places = scores.flatten(1).topk(2 * so_far.shape[1])
    gains = log_probs.view(len(rows), -1).gather(1, places)
    told = zip(rows, best.tolist(), places.tolist(), gains.tolist(), strict=True)
    return [
        [_longer(row, words, *one) for one in zip(values, indices, gained, strict=True)]
        for row, values, indices, gained in told
    ]


def _longer(row: _Row, words: int, score: float, index: int, gain: float) -> tuple[int, _Text]:
    """One continuation: `index` counts the words of all beams, one beam after the other."""
    beam, token = divmod(index, words)
    before = row.beams[beam]
    return beam, _Text(score, [*before.ids, token], [*before.log_probs, gain])
