"""The loader: index arithmetic over rows, so that three numbers make any batch of any run again.

The order of an epoch is a permutation seeded by (seed, epoch); batch `step` is a slice of it, a rank takes
its part. Nothing else has state: a run resumes to the sample, whatever the number of workers.
"""

import atexit
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from pydantic import Field
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from limner.config import Config
from limner.data.rows import Mixture, Rows, Sample, TableRows
from limner.data.tokenizers import WordPiece
from limner.errors import DataError

__all__ = [
    "Batch",
    "Loader",
    "LoaderState",
    "Mixture",
    "Rows",
    "Sample",
    "TableRows",
    "collate",
    "permutation",
]


class Batch(NamedTuple):
    """What one training step reads.

    Args:
        keys: of the rows, b long.
        images: u8 pixels.
        image_ids: equal where the picture is the same.
        caption_ids: [CLS] words [SEP], padded on the right.
        caption_mask: True on real tokens.
        qa_ids: [CLS] question ? answer [SEP]; a row without a question is all padding.
        qa_mask: True on real tokens.
        qa_prompt_lengths: tokens up to and with the "?", 0 without a question.
    """

    keys: list[str]
    images: UInt8[Tensor, "b 3 y x"]
    image_ids: Int64[Tensor, " b"]
    caption_ids: Int64[Tensor, "b t"]
    caption_mask: Bool[Tensor, "b t"]
    qa_ids: Int64[Tensor, "b u"]
    qa_mask: Bool[Tensor, "b u"]
    qa_prompt_lengths: Int64[Tensor, " b"]


class LoaderState(Config):
    """Where a loader stands: the next batch is number `step` of `epoch` under `seed`."""

    seed: int
    epoch: int = Field(default=0, ge=0)
    step: int = Field(default=0, ge=0)


def collate(samples: Sequence[Sample], tokenizer: WordPiece, max_tokens: int) -> Batch:
    """Stack samples and tokenise their texts.

    Args:
        samples: b of them, pictures of one size.
        tokenizer: the model's own.
        max_tokens: longest text row.
    """
    pixels = torch.from_numpy(np.stack([sample.image for sample in samples]))
    caption_ids, caption_mask = tokenizer.encode_batch([sample.caption for sample in samples], max_tokens)
    qa = tokenizer.encode_questions([s.question for s in samples], [s.answer for s in samples], max_tokens)
    qa_ids, qa_mask = tokenizer.pad([prompt + reply for prompt, reply in qa])
    return Batch(
        keys=[sample.key for sample in samples],
        images=pixels.permute(0, 3, 1, 2).contiguous(),
        image_ids=torch.tensor([sample.image_id for sample in samples], dtype=torch.int64),
        caption_ids=caption_ids,
        caption_mask=caption_mask,
        qa_ids=qa_ids,
        qa_mask=qa_mask,
        qa_prompt_lengths=torch.tensor([len(prompt) for prompt, _ in qa], dtype=torch.int64),
    )


class Loader:
    """Endless, seeded, resumable batches.

    Args:
        rows: what to read.
        tokenizer: the model's own.
        batch_size: samples per batch on this rank.
        seed: of the order of the epochs.
        num_workers: processes that read, decode and tokenise ahead; 0 does it in this one. Changes no batch.
        max_tokens: longest text row.
        rank: of this process, [0, world_size).
        world_size: processes that share each global batch of `batch_size * world_size` samples.
        prefetch_factor: batches each worker keeps ready.
        pin_memory: page-locked batches, for copies to a GPU that overlap with work.
    Raises: DataError when the rows do not fill one global batch.
    """

    def __init__(
        self,
        rows: Rows,
        tokenizer: WordPiece,
        batch_size: int,
        seed: int,
        *,
        num_workers: int = 0,
        max_tokens: int = 32,
        rank: int = 0,
        world_size: int = 1,
        prefetch_factor: int = 4,
        pin_memory: bool = False,
    ) -> None:
        if not 0 <= rank < world_size:
            raise DataError(f"rank {rank} of {world_size}", wanted="0 <= rank < world_size")
        if len(rows) < batch_size * world_size:
            raise DataError(
                f"{len(rows)} rows do not fill one batch of {batch_size} x {world_size}",
                wanted="more rows or a smaller batch",
                hint=f"--set train.batch_size={max(1, len(rows) // world_size)}",
            )
        self.rows, self.seed, self.batch_size = rows, seed, batch_size
        self.rank, self.world_size = rank, world_size
        self.steps_per_epoch = len(rows) // (batch_size * world_size)
        self._batches = _Batches(rows, tokenizer, max_tokens)
        self._num_workers, self._prefetch_factor = num_workers, prefetch_factor
        self._pin_memory = pin_memory

    def start(self) -> LoaderState:
        """The state before the first batch."""
        return LoaderState(seed=self.seed)

    def batches(self, state: LoaderState | None = None) -> Iterator[tuple[Batch, LoaderState]]:
        """Batches from `state` on, without end, each with the state after it.

        Close the iterator (or leave the function that holds it) to end the workers.
        Raises: DataError when the state was made under another seed.
        """
        state = state or self.start()
        if state.seed != self.seed:
            raise DataError(f"a state of seed {state.seed} given to a loader of seed {self.seed}")
        states = self._states(state)
        fetched = self._fetch(state)
        try:
            yield from zip(fetched, states, strict=False)
        finally:
            del fetched  # ends the workers

    def _states(self, state: LoaderState) -> Iterator[LoaderState]:
        """Every state after `state`."""
        while True:
            epoch, step = state.epoch, state.step + 1
            if step >= self.steps_per_epoch:
                epoch, step = epoch + 1, 0
            state = LoaderState(seed=self.seed, epoch=epoch, step=step)
            yield state

    def _requests(self, state: LoaderState) -> Iterator["_Request"]:
        """This rank's indices of every batch from `state` on."""
        epoch, step = state.epoch, state.step
        while True:
            order = permutation(len(self.rows), self.seed, epoch)
            for number in range(step, self.steps_per_epoch):
                begin = (number * self.world_size + self.rank) * self.batch_size
                yield _Request(epoch, order[begin : begin + self.batch_size].tolist())
            epoch, step = epoch + 1, 0

    def _fetch(self, state: LoaderState) -> Iterator[Batch]:
        requests = self._requests(state)
        if self._num_workers == 0:
            return map(self._batches.__getitem__, requests)
        with warnings.catch_warnings():
            # the number of workers is the caller's choice; torch counts cores and doubts it
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            loader = DataLoader(
                self._batches,
                batch_size=None,
                sampler=requests,
                num_workers=self._num_workers,
                prefetch_factor=self._prefetch_factor,
                collate_fn=_as_is,
                worker_init_fn=_start_worker,
                multiprocessing_context="spawn",
                pin_memory=self._pin_memory,
            )
            return iter(loader)


def permutation(count: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """The order of one epoch: PCG64 seeded by (seed, epoch)."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)


class _Request(NamedTuple):
    epoch: int
    indices: list[int]


class _Batches(Dataset[Batch]):
    """The part of a loader that lives in a worker: indices in, batch out."""

    def __init__(self, rows: Rows, tokenizer: WordPiece, max_tokens: int) -> None:
        self._rows, self._tokenizer, self._max_tokens = rows, tokenizer, max_tokens

    def __getitem__(self, request: _Request) -> Batch:
        samples = self._rows.samples(request.indices, request.epoch)
        return collate(samples, self._tokenizer, self._max_tokens)


def _as_is(batch: Any) -> Any:
    return batch


def _start_worker(worker: int) -> None:
    """Workers share the cores and leave Ctrl-C to the main process, which ends them.

    They end at once: an interpreter that shuts down while its queue thread is inside torch may abort.
    """
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(os._exit, 0)
