"""What the models say of rows: a picture is decoded once, looked at once, and all its texts are scored.

A row on which a model fails is found by halving its batch; see `portions`.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch

from limner.capfilt.caption import Caption, caption_memory, image_tokens, row_seed
from limner.capfilt.decision import MEASURED, SCREENED
from limner.capfilt.filter import PairScores, Seen, look, score_pairs
from limner.capfilt.junk import junk_reason
from limner.capfilt.portions import Portions
from limner.capfilt.settings import CapFiltSettings
from limner.checkpoint import Bundle
from limner.data.intake import decode
from limner.data.table import Table
from limner.data.transforms import to_u8
from limner.errors import PictureError

_AHEAD = 2
"""Batches that are read and decoded while the models work, one thread each."""

SPARED_ROWS = 8
"""One row in so many is scored whole in spite of a screen, to tell what it costs."""

Tell = Callable[[str, Exception], None]
"""Told of each row that a model fails on: its key and what was raised."""


class Job(NamedTuple):
    """All that measuring needs.

    Args:
        table: with `key` and `image`.
        texts: the web texts of each row.
        captioner: writes.
        judge: the filter.
        settings: of the whole job.
    """

    table: Table
    texts: Sequence[list[str]]
    captioner: Bundle
    judge: Bundle
    settings: CapFiltSettings

    @property
    def shared(self) -> bool:
        """Whether captioner and filter are the same model, so that one look at a picture serves both."""
        one, other = self.captioner, self.judge
        return one.digest == other.digest and one.image_spec == other.image_spec


class _Row(NamedTuple):
    """A row read and decoded: pixels for captioner and filter, or why there are none."""

    key: str
    texts: list[str]
    pixels: tuple[np.ndarray, np.ndarray] | None
    problem: str | None


def measure(job: Job, start: int, tell: Tell | None = None) -> Iterator[list[dict[str, Any]]]:
    """Walk the table from row `start` on, in order.

    A picture that cannot be read, or that a model fails on, costs its own row and no other.

    Yields: rows of `decision.MEASURED`, a batch at a time.
    """
    size = job.settings.batch_size

    def refuse(row: _Row, error: Exception) -> dict[str, Any]:
        if tell is not None:
            tell(row.key, error)
        return _refused(row._replace(problem=f"model:{type(error).__name__}"))

    walk: Walk = Portions(size, lambda rows: _measure_good(job, rows), refuse)
    with ThreadPoolExecutor(_AHEAD) as pool:
        pending: deque[Future[list[_Row]]] = deque()
        for begin in range(start, len(job.texts), size):
            pending.append(pool.submit(_read, job, range(begin, min(begin + size, len(job.texts)))))
            if len(pending) > _AHEAD:
                yield _measure_batch(walk, pending.popleft().result())
        while pending:
            yield _measure_batch(walk, pending.popleft().result())


Walk = Portions[_Row, dict[str, Any]]


def _read(job: Job, indices: range) -> list[_Row]:
    found = job.table.rows(indices, ["key", "image"])
    return [_decode(job, row, job.texts[index]) for index, row in zip(indices, found, strict=True)]


def _decode(job: Job, row: dict[str, Any], texts: list[str]) -> _Row:
    size = max(job.captioner.image_spec.size, job.judge.image_spec.size)
    try:
        picture = decode(row["image"] or b"", max_side=2 * size)
    except PictureError as error:
        return _Row(row["key"], texts, None, f"picture:{error.reason}")
    first = to_u8(picture, job.captioner.image_spec)
    same = job.captioner.image_spec == job.judge.image_spec
    return _Row(row["key"], texts, (first, first if same else to_u8(picture, job.judge.image_spec)), None)


def _measure_batch(walk: Walk, rows: list[_Row]) -> list[dict[str, Any]]:
    measured = iter(walk([row for row in rows if row.pixels is not None]))
    return [next(measured) if row.pixels is not None else _refused(row) for row in rows]


def _measure_good(job: Job, rows: Sequence[_Row]) -> list[dict[str, Any]]:
    captions, seen = _look_and_caption(job, rows)
    _, tokenizer = job.judge.blip()
    known = tokenizer if job.settings.vocabulary_test else None
    texts = {"web": [row.texts for row in rows], "synthetic": [[c.text for c in found] for found in captions]}
    junk = {
        side: [[junk_reason(t, known, job.settings.languages) for t in row] for row in lists]
        for side, lists in texts.items()
    }
    pairs = [
        (picture, text)
        for side, lists in texts.items()
        for picture, row in enumerate(lists)
        for text, reason in zip(row, junk[side][picture], strict=True)
        if reason is None
    ]
    scores = _scored(job, seen, [row.key for row in rows], pairs)
    methods = [decoding.method for decoding, count in job.settings.writings for _ in range(count)]
    columns: dict[str, list[Any]] = {
        "key": [row.key for row in rows],
        "picture": [None] * len(rows),
        "synthetic": texts["synthetic"],
        "decoding_synthetic": [methods] * len(rows),
        "log_prob_synthetic": [[c.log_prob for c in found] for found in captions],
    }
    itm, itc = iter(scores.itm), iter(scores.itc)
    for side in texts:
        columns[f"itm_{side}"] = [[next(itm) if j is None else None for j in row] for row in junk[side]]
        columns[f"itc_{side}"] = [[next(itc) if j is None else None for j in row] for row in junk[side]]
        columns[f"junk_{side}"] = [
            [_why_not_asked(job, *text) for text in zip(*row, strict=True)]
            for row in zip(junk[side], columns[f"itc_{side}"], strict=True)
        ]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _scored(job: Job, seen: Seen, keys: Sequence[str], pairs: Sequence[tuple[int, str]]) -> PairScores:
    """Scores of (picture, text) pairs.

    Raises: ArithmeticError when a score is no number.
    """
    settings = job.settings
    screen = -math.inf if settings.itc_screen is None else settings.itc_screen
    spared = [is_spared(settings.seed, key) for key in keys]
    scores = score_pairs(
        job.judge,
        seen,
        [text for _, text in pairs],
        [picture for picture, _ in pairs],
        max_tokens=settings.max_text_tokens,
        batch_size=settings.batch_size,
        screen=screen,
        spared=[spared[picture] for picture, _ in pairs],
    )
    for itm, itc in zip(*scores, strict=True):
        if math.isnan(itc) or (itm is None and itc >= screen):
            raise ArithmeticError("a score is no number")
    return scores


def is_spared(seed: int, key: str) -> bool:
    """Whether a row is scored whole in spite of a screen; by its key, so that every run takes the same."""
    return row_seed(seed, f"spared {key}") % SPARED_ROWS == 0


def _why_not_asked(job: Job, junk: str | None, itc: float | None) -> str | None:
    screen = job.settings.itc_screen
    return SCREENED if screen is not None and itc is not None and itc < screen else junk


@torch.inference_mode()
def _look_and_caption(job: Job, rows: Sequence[_Row]) -> tuple[list[list[Caption]], Seen]:
    pixels = [row.pixels for row in rows if row.pixels is not None]
    writer, _ = job.captioner.blip()
    tokens = image_tokens(job.captioner, [first for first, _ in pixels])
    if job.shared:
        seen = look(job.judge, tokens)
        memory = writer.decoder_memory(tokens, seen.memory)
    else:
        seen = look(job.judge, image_tokens(job.judge, [second for _, second in pixels]))
        memory = writer.decoder_memory(tokens)
    keys, settings = [row.key for row in rows], job.settings
    written = [
        caption_memory(
            job.captioner, memory, keys, decoding, seed=settings.seed, prompt=settings.prompt, count=count
        )
        for decoding, count in settings.writings
    ]
    return [list(chain(*of_picture)) for of_picture in zip(*written, strict=True)], seen


def _refused(row: _Row) -> dict[str, Any]:
    """A row that could not be read, or that a model fails on: nothing written, nothing scored."""
    nothing: list[None] = [None] * len(row.texts)
    web = {name: nothing for name in ("junk_web", "itm_web", "itc_web")}
    synthetic = [name for name in MEASURED.names if name.endswith("synthetic")]
    return {"key": row.key, "picture": row.problem} | web | {name: [] for name in synthetic}
