"""Which words may come next: how a text is chosen, and the rules that change the scores of its words.

Implements: the repetition penalty of CTRL (Keskar et al. 2019, arXiv 1909.05858, section 4.1); no repeated
    n-gram (Paulus et al. 2017, arXiv 1705.04304, section 2.5); words that must not, and words that must come.
Checked against: transformers' processors of the first three; loops over all texts for the last.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from limner.config import Config

Word = tuple[int, ...]
Text = Sequence[int]


class Decoding(Config):
    """How a text is chosen.

    Args:
        method: "greedy" takes the likeliest token, "beam" keeps several texts, "nucleus" draws.
        max_tokens: most new tokens, [SEP] among them.
        min_tokens: new tokens before [SEP] may come.
        num_beams: texts kept by beam search.
        top_p: mass of the likeliest tokens nucleus sampling draws from, (0, 1].
        top_k: most tokens it draws from, before `top_p` counts; 0 sets no limit.
        temperature: divides the logits before drawing, > 0.
        repetition_penalty: lowers the score of tokens already in the text; 1 does nothing.
        no_repeat_ngram: no run of so many tokens comes twice in prompt and text; 0 does nothing.
        forbidden: token ids of words that never come, each one token or several.
        required: token ids of words that every text has: where it would end without one, that one follows.
        length_penalty: beam search ranks finished texts by log-probability / length ** this.
        early_stopping: beam search ends when `num_beams` texts are finished; if False, when besides the best
            unfinished one, at its present length, cannot beat the worst of them.
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"top_k", "no_repeat_ngram", "forbidden", "required"})

    method: Literal["greedy", "beam", "nucleus"] = "greedy"
    max_tokens: int = Field(default=20, ge=1)
    min_tokens: int = Field(default=0, ge=0)
    num_beams: int = Field(default=3, ge=1)
    top_p: float = Field(default=0.9, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    repetition_penalty: float = Field(default=1.0, gt=0)
    no_repeat_ngram: int = Field(default=0, ge=0)
    forbidden: tuple[Word, ...] = ()
    required: tuple[Word, ...] = ()
    length_penalty: float = 1.0
    early_stopping: bool = False

    @model_validator(mode="after")
    def _possible(self) -> "Decoding":
        if not all((*self.forbidden, *self.required, (0,))):
            raise ValueError("a forbidden or required word has no tokens")
        if (room := sum(map(len, self.required))) >= self.max_tokens:
            raise ValueError(f"required words of {room} tokens do not fit into max_tokens={self.max_tokens}")
        for word in self.required:
            if any(holds(word, other) for other in self.forbidden):
                raise ValueError(f"the required word {word} is forbidden too")
        return self

    @property
    def looks_back(self) -> bool:
        """Whether a rule asks which tokens a text has, in their order."""
        return bool(self.no_repeat_ngram or self.forbidden or self.required)


def ruled(
    scores: Float[Tensor, "b v"],
    used: Bool[Tensor, "b v"],
    texts: Sequence[Text],
    step: int,
    decoding: Decoding,
    sep_id: int,
) -> Float[Tensor, "b v"]:
    """Change the scores of the next token as the rules want it.

    Args:
        scores: logits or log-probabilities; left as they are.
        used: True for tokens of prompt and text.
        texts: prompt and new tokens of each row; not looked at unless `decoding.looks_back`.
        step: how many tokens are new.
        decoding: the rules.
        sep_id: token that ends a text.
    Returns: scores, −inf for what may not come.
    """
    ruled = scores
    if (penalty := decoding.repetition_penalty) != 1:
        ruled = torch.where(used, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
    if not (decoding.looks_back or step < decoding.min_tokens):
        return ruled
    ruled = ruled.clone()
    if decoding.looks_back:
        pairs = [(row, token) for row, text in enumerate(texts) for token in _banned(text, decoding)]
        if pairs:
            ruled[tuple(torch.tensor(pairs, device=scores.device).T)] = -torch.inf
    if step < decoding.min_tokens:
        ruled[:, sep_id] = -torch.inf
    if decoding.required:
        for row, text in enumerate(texts):
            _demand(ruled[row], scores[row], text[len(text) - step :], decoding, sep_id)
    return ruled


def holds(text: Text, word: Text) -> bool:
    """Whether the tokens of `word` stand in `text`, one after the other."""
    return any(tuple(text[i : i + len(word)]) == tuple(word) for i in range(len(text) - len(word) + 1))


def _banned(text: Text, decoding: Decoding) -> set[int]:
    """Tokens that would repeat a run, or finish a forbidden word."""
    banned = {word[-1] for word in decoding.forbidden if _ends(text, word[:-1])}
    if size := decoding.no_repeat_ngram:
        runs = (text[i : i + size] for i in range(len(text) - size + 1))
        banned |= {run[-1] for run in runs if _ends(text, run[:-1])}
    return banned


def _ends(text: Text, tail: Text) -> bool:
    return len(text) >= len(tail) and list(text[len(text) - len(tail) :]) == list(tail)


def _demand(row: Tensor, before: Tensor, text: Text, decoding: Decoding, sep_id: int) -> None:
    """Let a row write what it must: a word begun goes on; one that is missing comes instead of the end."""
    missing = [word for word in decoding.required if not holds(text, word)]
    if not missing:
        return
    begun = [(n, word) for word in missing for n in range(len(word) - 1, 0, -1) if _ends(text, word[:n])]
    needed = sum(map(len, missing))
    if begun or needed >= decoding.max_tokens - len(text):
        length, word = max(begun, key=lambda found: found[0]) if begun else (0, missing[0])
        score = before[word[length]].clone()
        row.fill_(-torch.inf)
        row[word[length]] = score
        return
    first = missing[0][0]
    row[first] = torch.maximum(row[first], row[sep_id])
    row[sep_id] = -torch.inf
