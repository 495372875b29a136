"""The loader: index arithmetic over rows, so that a few numbers make any batch of any run again.

The order of an epoch is a permutation computed from (seed, epoch); the global batch `step` is a slice of it,
and a rank takes its part. Nothing else has state: a run resumes to the sample, whatever the number of workers
or ranks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Int64, UInt8
from pydantic import Field
from torch import Tensor

from limner.config import Config
from limner.data.batches import stacked
from limner.data.fetching import Batches, Request, Workers, fetch
from limner.data.order import Order
from limner.data.rows import Mixture, Rows, Sample, TableRows
from limner.data.tokenizers import WordPiece
from limner.data.watchdog import Watchdog
from limner.errors import DataError

__all__ = [
    "Batch",
    "Loader",
    "LoaderState",
    "Mixture",
    "Pairs",
    "Rows",
    "Sample",
    "TableRows",
    "collate",
    "given_tokens",
]

B = TypeVar("B")


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
    """Where a loader stands: the next batch is number `step` of `epoch`.

    Args:
        seed: of the order.
        epoch: from 0.
        step: of the epoch, from 0.
        global_batch: samples of a step on all ranks together; 0 in a state from before the first batch.
        samples: of an epoch; 0 likewise.
    """

    seed: int
    epoch: int = Field(default=0, ge=0)
    step: int = Field(default=0, ge=0)
    global_batch: int = Field(default=0, ge=0)
    samples: int = Field(default=0, ge=0)


def given_tokens(tokenizer: WordPiece, prompt: str = "") -> int:
    """Tokens of a caption that are given, not written: [CLS] and the prompt."""
    return len(tokenizer.encode(prompt, max_tokens=64)) - 1  # without [SEP]


def collate(samples: Sequence[Sample], tokenizer: WordPiece, max_tokens: int, prompt: str = "") -> Batch:
    """Stack samples and tokenise their texts.

    Args:
        samples: b of them, pictures of one size.
        tokenizer: the model's own.
        max_tokens: longest text row.
        prompt: words that every caption goes on from.
    """
    captions = [prompt + sample.caption for sample in samples]
    caption_ids, caption_mask = tokenizer.encode_batch(captions, max_tokens)
    qa = tokenizer.encode_questions([s.question for s in samples], [s.answer for s in samples], max_tokens)
    qa_ids, qa_mask = tokenizer.pad([prompt + reply for prompt, reply in qa])
    return Batch(
        keys=[sample.key for sample in samples],
        images=stacked(samples).contiguous(),
        image_ids=torch.tensor([sample.image_id for sample in samples], dtype=torch.int64),
        caption_ids=caption_ids,
        caption_mask=caption_mask,
        qa_ids=qa_ids,
        qa_mask=qa_mask,
        qa_prompt_lengths=torch.tensor([len(prompt) for prompt, _ in qa], dtype=torch.int64),
    )


@dataclass(frozen=True)
class Pairs:
    """How samples become a `Batch`: `collate` with a tokenizer; picklable, as every collate must be.

    Args:
        tokenizer: the model's own.
        max_tokens: longest text row.
        prompt: words that every caption goes on from, with the space after them.
    """

    tokenizer: WordPiece
    max_tokens: int = 32
    prompt: str = ""

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples and tokenise their texts."""
        return collate(samples, self.tokenizer, self.max_tokens, self.prompt)


class Loader(Generic[B]):
    """Endless, seeded, resumable batches.

    Args:
        rows: what to read.
        collate: samples to a batch, such as `Pairs`; picklable when workers are processes.
        batch_size: samples per batch on this rank.
        seed: of the order of the epochs.
        workers: what makes batches ahead, "processes" or "threads". Changes no batch.
        num_workers: how many; 0 makes each batch when it is asked for. Changes no batch.
        prefetch_factor: batches each worker keeps ready.
        pin_memory: page-locked batches, for copies to a GPU that overlap with work.
        rank: of this process, [0, world_size).
        world_size: processes that share each global batch of `batch_size * world_size` samples.
        bucket_batches: sort texts by length within windows of so many global batches; 0 does not.
        stall_s: seconds without a batch after which the watchdog reports.
        say: takes the watchdog's report; standard error by default.
    Raises: DataError when the rows do not fill one global batch.
    """

    def __init__(
        self,
        rows: Rows,
        collate: Callable[[Sequence[Sample]], B],
        batch_size: int,
        seed: int,
        *,
        workers: Workers = "processes",
        num_workers: int = 0,
        prefetch_factor: int = 4,
        pin_memory: bool = False,
        rank: int = 0,
        world_size: int = 1,
        bucket_batches: int = 0,
        stall_s: float = 60.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if not 0 <= rank < world_size:
            raise DataError(f"rank {rank} of {world_size}", wanted="0 <= rank < world_size")
        if len(rows) < batch_size * world_size:
            raise DataError(
                f"{len(rows)} rows do not fill one batch of {batch_size} x {world_size}",
                wanted="more rows or a smaller batch",
                hint=f"--set train.batch_size={max(1, len(rows) // world_size)}",
            )
        self.rows, self.collate, self.seed, self.batch_size = rows, collate, seed, batch_size
        self.rank, self.world_size = rank, world_size
        lengths = getattr(rows, "lengths", None)
        self.order = Order(len(rows), batch_size * world_size, seed, bucket_batches, lengths)
        self.steps_per_epoch = self.order.steps
        self._fetching = {
            "workers": workers,
            "num_workers": num_workers,
            "prefetch_factor": prefetch_factor,
            "pin_memory": pin_memory,
        }
        self._stall_s, self._say = stall_s, say

    def start(self) -> LoaderState:
        """The state before the first batch."""
        return self._state(0, 0)

    def batches(self, state: LoaderState | None = None) -> Iterator[tuple[B, LoaderState]]:
        """Batches from `state` on, without end, each with the state after it.

        Close the iterator (or leave the function that holds it) to end the workers.
        Raises: DataError when the state belongs to another order, or a batch cannot be made.
        """
        state = state or self.start()
        self._require_same_order(state)
        with Watchdog(self._stall_s, self._say) as dog:
            made = fetch(
                Batches(self.rows, self.collate),
                self._requests(state),
                dog,
                **self._fetching,  # type: ignore[arg-type]
            )
            try:
                for after in self._states(state):
                    with dog.waiting(
                        f"the batch before epoch {after.epoch} step {after.step}", self.batch_size
                    ):
                        batch = next(made)
                    yield batch, after
            finally:
                if close := getattr(made, "close", None):
                    close()  # ends the workers

    def _state(self, epoch: int, step: int) -> LoaderState:
        order = self.order
        return LoaderState(
            seed=self.seed, epoch=epoch, step=step, global_batch=order.global_batch, samples=order.count
        )

    def _require_same_order(self, state: LoaderState) -> None:
        """Raises: DataError when `state` does not belong to this loader's order."""
        if state.seed != self.seed:
            raise DataError(f"a state of seed {state.seed} given to a loader of seed {self.seed}")
        if not state.global_batch and (state.epoch or state.step):
            raise DataError(
                "a state that does not say how large its batches were",
                wanted="a state written with this order; the order of samples changed since",
                hint="start again with a new --out, or finish the run with the limner that began it",
            )
        mine = self.start()
        if state.global_batch not in (0, mine.global_batch):
            raise DataError(
                f"a state of batches of {state.global_batch} given to a loader of {mine.global_batch}",
                wanted=f"{state.global_batch} samples a step over all ranks",
                hint=f"a batch of {state.global_batch} / ranks on each rank resumes to the sample",
            )
        if state.samples not in (0, mine.samples) or state.step >= self.steps_per_epoch:
            raise DataError(
                f"a state of epochs of {state.samples} samples given to rows with {mine.samples}",
                wanted="the same version of the table, and the same filter",
            )

    def _states(self, state: LoaderState) -> Iterator[LoaderState]:
        """Every state after `state`."""
        epoch, step = state.epoch, state.step
        while True:
            step += 1
            if step >= self.steps_per_epoch:
                epoch, step = epoch + 1, 0
            yield self._state(epoch, step)

    def _requests(self, state: LoaderState) -> Iterator[Request]:
        """This rank's indices of every batch from `state` on."""
        epoch, step = state.epoch, state.step
        mine = slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
        while True:
            for batch in self.order.batches(epoch, step):
                yield Request(epoch, batch[mine].tolist())
            epoch, step = epoch + 1, 0
