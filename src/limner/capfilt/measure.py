"""What the models say of rows: a picture is decoded once, looked at once, and all its texts are scored.

A row on which a model fails is found by halving its batch; see `portions`.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class Job(NamedTuple):
    """All that measuring needs.

    Args:
        table: with `key`, `image` and the web texts.
        captioner: writes.
        judge: the filter.
        settings: of the whole job.
    """

    table: Table
    captioner: Bundle
    judge: Bundle
    settings: CapFiltSettings

    @property
    def shared(self) -> bool:
        """Whether captioner and filter are the same model, so that one look at a picture serves both."""
        one, other = self.captioner, self.judge
        return one.digest == other.digest and one.image_spec == other.image_spec


class Piece(NamedTuple):
    """Measured rows that follow each other in the table.

    Args:
        start: position of the first.
        rows: of `decision.MEASURED`.
        poisoned: rows a model failed on: their keys and what was raised.
    """

    start: int
    rows: list[dict[str, Any]]
    poisoned: list[tuple[str, str]]


class _Row(NamedTuple):
    """A row read and decoded: pixels for captioner and filter, or why there are none."""

    key: str
    texts: list[str]
    pixels: tuple[np.ndarray, np.ndarray] | None
    problem: str | None


class Measurer:
    """Measures rows of a table, a batch at a time; what one call learns of memory serves the next.

    Args:
        job: what to measure with.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._poisoned: list[tuple[str, str]] = []
        self._walk: Walk = Portions(
            job.settings.batch_size, lambda rows: _measure_good(job, rows), self._refuse
        )

    def __call__(self, spans: Iterable[range]) -> Iterator[Piece]:
        """Walk spans of the table, in order.

        A picture that cannot be read, or that a model fails on, costs its own row and no other.

        Yields: a batch; batches begin where their span does.
        """
        with ThreadPoolExecutor(_AHEAD) as pool:
            pending: deque[tuple[int, Future[list[_Row]]]] = deque()
            for span in cut(spans, self.job.settings.batch_size):
                pending.append((span.start, pool.submit(_read, self.job, span)))
                if len(pending) > _AHEAD:
                    yield self._piece(*pending.popleft())
            while pending:
                yield self._piece(*pending.popleft())

    def _piece(self, start: int, read: "Future[list[_Row]]") -> Piece:
        rows, self._poisoned = read.result(), []
        measured = iter(self._walk([row for row in rows if row.pixels is not None]))
        found = [next(measured) if row.pixels is not None else _refused(row) for row in rows]
        return Piece(start, found, self._poisoned)

    def _refuse(self, row: _Row, error: Exception) -> dict[str, Any]:
        self._poisoned.append((row.key, f"{type(error).__name__}: {error}"))
        return _refused(row._replace(problem=f"model:{type(error).__name__}"))


Walk = Portions[_Row, dict[str, Any]]
Engine = Callable[[Job, Sequence[range]], Iterator[Piece]]
"""Measures the rows of spans, in any order; all engines give the same pieces, cut elsewhere."""


def measure(job: Job, spans: Sequence[range]) -> Iterator[Piece]:
    """The engine of one process: this one, in order."""
    return Measurer(job)(spans)


def cut(spans: Iterable[range], size: int) -> Iterator[range]:
    """Spans in stretches of `size` rows; the last of each span may be shorter."""
    for span in spans:
        for begin in range(0, len(span), size):
            yield span[begin : begin + size]


def web_texts(texts: Sequence[str | None] | None) -> list[str]:
    """The web texts of a row as they stand in the table, without nulls."""
    return [text or "" for text in texts or ()]


def _read(job: Job, indices: range) -> list[_Row]:
    column = job.settings.texts_column
    return [
        _decode(job, row, web_texts(row[column])) for row in job.table.rows(indices, ["key", "image", column])
    ]


def _decode(job: Job, row: dict[str, Any], texts: list[str]) -> _Row:
    size = max(job.captioner.image_spec.size, job.judge.image_spec.size)
    try:
        picture = decode(row["image"] or b"", max_side=2 * size)
    except PictureError as error:
        return _Row(row["key"], texts, None, f"picture:{error.reason}")
    first = to_u8(picture, job.captioner.image_spec)
    same = job.captioner.image_spec == job.judge.image_spec
    return _Row(row["key"], texts, (first, first if same else to_u8(picture, job.judge.image_spec)), None)


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
