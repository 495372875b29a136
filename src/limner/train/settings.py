"""[train] and [machine] of a recipe: how long a run is, what it writes when, and where it runs."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from limner.config import Config
from limner.data.fetching import Workers
from limner.train.sinks import SinkName


class TrainSettings(Config):
    """[train]: how long, how much at once, and what is written when.

    Args:
        steps: optimiser steps of the whole run.
        batch_size: samples a step, of all ranks together.
        micro_batch: samples a forward pass on a rank, for tasks whose loss is a mean over samples; gradients
            add up to those of the batch. 0 is the whole batch.
        seed: of weights, dropout, negatives and the order of the data.
        precision: "bf16" and "fp16" compute the forward pass in half precision where that is safe; weights
            stay fp32, and with "fp16" the loss is scaled. "auto" becomes "bf16" where the device has
            instructions for it, else "fp32", when the run starts.
        sync_norm: batch norms of several ranks share their statistics, as if the batch were on one.
        log_every: steps between train records.
        evaluate_every: steps between evaluations; the last step is always evaluated.
        checkpoint_every: steps between checkpoints; stopping and the last step always write one.
        keep: how many checkpoints stay.
        best: measure to go by, `evaluator/name`: the weights of its best evaluation are kept, and shipped.
            Empty ships the last weights.
        patience: evaluations in a row without a better one after which the run ends; 0 goes on.
    """

    LATER: ClassVar = frozenset({"micro_batch", "sync_norm", "best", "patience"})

    steps: int = Field(ge=1)
    batch_size: int = Field(default=64, ge=2)
    micro_batch: int = Field(default=0, ge=0)
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    sync_norm: bool = True
    log_every: int = Field(default=50, ge=1)
    evaluate_every: int = Field(default=1000, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    keep: int = Field(default=2, ge=1)
    best: str = ""
    patience: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _patience_has_a_measure(self) -> "TrainSettings":
        if self.patience and not self.best:
            raise ValueError(f"train.patience {self.patience} needs train.best, the measure to go by")
        return self


class MachineSettings(Config):
    """[machine]: where a run runs and for how long; no part of its identity, so a resume may change it.

    Args:
        device: "auto" is the first CUDA device, or else the CPU.
        threads: of the CPU; 0 leaves torch's choice.
        workers: how many make batches ahead; 0 makes them in between.
        workers_are: "processes", or "threads", which start at once and share one picture cache.
        stall_s: seconds without a batch after which the loader says where each worker stands.
        mirror: place elsewhere, such as `s3://bucket/runs/mine`, that checkpoints are copied to, and that
            a resume takes the newest from. Empty: none.
        max_minutes: save and stop after so many minutes; resuming goes on. None: no limit.
        tensorboard: the older word for "tensorboard" in `sinks`.
        sinks: where scalars go besides the records: "tensorboard", "wandb", "trackio", each an extra.
        count_work: count the FLOPs of the first step, for TFLOP/s and MFU in the records.
        strict: stop at the first alarm, instead of saying and recording it.
        recompute: make activations again, block by block, instead of keeping them: less memory, a third more
            work.
        compile: compile the blocks.
        shard: several processes keep a part each of weights, gradients and optimiser (FSDP2), and gather
            them block by block; else each has them whole (DDP). Nothing on one process.
    """

    LATER: ClassVar = frozenset(
        {"workers_are", "stall_s", "strict", "recompute", "compile", "sinks", "count_work", "mirror", "shard"}
    )

    device: str = "auto"
    threads: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    workers_are: Workers = "processes"
    stall_s: float = Field(default=60.0, gt=0)
    mirror: str = ""
    max_minutes: float | None = Field(default=None, gt=0)
    tensorboard: bool = False
    sinks: tuple[SinkName, ...] = ()
    count_work: bool = True
    strict: bool = False
    recompute: bool = False
    compile: bool = False
    shard: bool = False
