"""A whole training step of limner beside the peers' own, from the same weights on the same batch.

    python benchmarks/train.py                        every case, bf16
    python benchmarks/train.py --case clip_vit_b32    some cases
    python benchmarks/train.py --write                also write benchmarks/records/train-<device>.json

A step is what each library's users run: forward, loss, backward, fused AdamW; limner's with its alarms and
its records' sums, open_clip's with its `ClipLoss`, timm's with its smoothed cross entropy, transformers' with
the loss of its model. The first losses are compared before anything is timed; steps alternate; the figure is
the ratio of medians, above 1 where limner is faster; on one thread of a CPU it is processor time. Captions
are Flickr8k's where `../shared/data` is there.
Two more figures: memory of the contrastive loss, and two processes against one.
"""

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from model_pairs import CASES, Case, Side, share
from torch import Tensor, nn

from limner.data.batches import Captioned, Labelled
from limner.data.bpe import CLIPTokenizer
from limner.data.loader import Batch, Loader
from limner.data.tokenizers import WordPiece
from limner.models import MODELS
from limner.objectives.contrastive import clip_loss, info_nce
from limner.shapes import ImageSpec
from limner.train.optim import OptimSettings
from limner.train.run import Job, Run
from limner.train.settings import MachineSettings, TrainSettings
from limner.train.steps import (
    BLIPStep,
    ClassificationSettings,
    ClassificationStep,
    CLIPStep,
    ContrastiveSettings,
    ObjectiveSettings,
    start_blip,
    start_draws,
)
from models import machine, peak_resident, synchronise

RECORDS = Path(__file__).parent / "records"
FLICKR = Path(__file__).resolve().parents[2] / "shared" / "data" / "flickr8k" / "train.parquet"
LR = 1e-5
HEAD = "case            peer            limner ms   peer ms  ratio  loss apart"
ROW = "{case:<16}{peer:<15}{limner_ms:>10.1f}{peer_ms:>10.1f}{ratio:>7.2f}{difference:>12.1e}"
Steps = Callable[[], float]


class Timing(NamedTuple):
    """Medians of one case."""

    case: str
    peer: str
    batch: int
    precision: str
    limner_ms: float
    peer_ms: float
    ratio: float
    difference: float


def texts(count: int) -> list[str]:
    """Real captions, or sentences of 8 to 20 words."""
    if FLICKR.exists():
        import pyarrow.parquet as pq

        rows = pq.read_table(FLICKR, columns=["captions"]).column("captions").to_pylist()
        return [row[i % len(row)] for i, row in enumerate(rows[:count])]
    words = ("a dog", "runs over", "the green", "grass with", "two small", "children", "in red", "coats")
    return [" ".join((words * 2)[i % 7 : i % 7 + 5 + i % 7]) for i in range(count)]


def pictures(count: int, size: int) -> Tensor:
    """u8 pixels, channels last in memory, as the loader gives them."""
    made = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)
    return made.permute(0, 3, 1, 2)


def normed(images: Tensor, spec: ImageSpec) -> Tensor:
    """What every library's users do with pixels."""
    mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (spec.mean, spec.std))
    return (images.float() / 255 - mean) / std


class Task(NamedTuple):
    """One case: limner's job and batch, and the peer's loss.

    Args:
        case: of `model_pairs`.
        batch: as limner's step takes it.
        step: limner's task.
        state: its state.
        loss: of the peer, from its model.
    """

    case: Case
    batch: Any
    step: Any
    state: Callable[[nn.Module], Any]
    loss: Callable[[nn.Module], Tensor]


def classification(case: Case, count: int, device: str) -> Task:
    """A classifier with smoothed labels, beside timm."""
    import timm.loss

    spec = MODELS[case.model].image_spec
    images, labels = pictures(count, spec.size).to(device), torch.randint(0, 1000, (count,)).to(device)
    settings = ClassificationSettings(kind="classification", label_smoothing=0.1)
    smooth = timm.loss.LabelSmoothingCrossEntropy(0.1)
    keys = [""] * count

    def loss(model: nn.Module) -> Tensor:
        found: Tensor = smooth(model(normed(images, spec)), labels)
        return found

    step = ClassificationStep(settings, spec, 1000)
    return Task(case, Labelled(keys, images, labels), step, partial(start_draws, seed=0), loss)


def contrastive(case: Case, count: int, device: str) -> Task:
    """CLIP on captions, beside open_clip with its own tokens and loss."""
    from open_clip import ClipLoss, tokenize

    spec, said = MODELS[case.model].image_spec, texts(count)
    images = pictures(count, spec.size).to(device)
    ids, _ = CLIPTokenizer.from_merges().encode_batch(said)
    padded, own_loss = tokenize(said).to(device), ClipLoss()

    def loss(model: nn.Module) -> Tensor:
        image, text, scale = model(normed(images, spec), padded)
        found: Tensor = own_loss(image, text, scale)
        return found

    step = CLIPStep(ContrastiveSettings(kind="contrastive"), spec)
    return Task(
        case, Captioned([""] * count, images, ids.to(device)), step, partial(start_draws, seed=0), loss
    )


def captioning(case: Case, count: int, device: str) -> Task:
    """BLIP's captions, beside transformers with its model's own loss."""
    spec = MODELS[case.model].image_spec
    tokenizer = WordPiece.from_vocabulary()
    ids, mask = tokenizer.encode_batch([f"a picture of {text}" for text in texts(count)], 40)
    images, ids, mask = pictures(count, spec.size).to(device), ids.to(device), mask.to(device)
    none = torch.zeros(count, 0, dtype=torch.int64, device=device)
    batch = Batch(
        [""] * count, images, torch.arange(count, device=device), ids, mask, none, none.bool(), none.sum(1)
    )
    terms = ObjectiveSettings(itc=0, itm=0, qa=0, teacher="none", queue_size=0, label_smoothing=0.0)
    starts = ids.clone()
    starts[:, 0] = tokenizer.dec_id
    labels = ids.masked_fill(~mask, -100)

    def loss(model: nn.Module) -> Tensor:
        out = model(
            pixel_values=normed(images, spec), input_ids=starts, attention_mask=mask.long(), labels=labels
        )
        found: Tensor = out.loss
        return found

    return Task(case, batch, BLIPStep(terms, spec), lambda model: start_blip(model, terms, 0), loss)


TASKS: dict[str, tuple[str, str, int, Callable[[Case, int, str], Task]]] = {
    "resnet50": ("resnet50", "timm", 8, classification),
    "vit_b16": ("vit_b16", "timm", 4, classification),
    "clip_vit_b32": ("clip_image", "open_clip", 16, contrastive),
    "clip_rn50": ("clip_rn50", "open_clip", 8, contrastive),
    "blip_caption": ("blip_caption", "transformers", 2, captioning),
}


def without_chance(model: nn.Module) -> nn.Module:
    """The model without dropout, so that losses can be compared."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    return model


def our_step(task: Task, model: nn.Module, folder: Path, precision: str) -> Steps:
    """limner's optimiser step, as `limner train` takes it."""
    count = len(task.batch[0])
    job = Job(
        model=model,
        state=task.state(model),
        step=task.step,
        loader=Loader.__new__(Loader),
        optim=OptimSettings(lr=LR, warmup_steps=0, average=0.0, clip_norm=0.0),
        settings=TrainSettings(steps=10**6, batch_size=count, precision=precision),
        machine=MachineSettings(),
    )
    run = Run(job, folder)

    def step() -> float:
        return float(run.advance(task.batch)["loss"])

    return step


def peer_step(task: Task, model: nn.Module, precision: str, device: str) -> Steps:
    """The peer's optimiser step."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.98), weight_decay=0.05, fused=True)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            loss = task.loss(model)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def measure(name: str, precision: str, device: str, rounds: int, batch: int) -> Timing:
    """Compare the first losses, then time both in turn."""
    case_name, peer_name, usual, make = TASKS[name]
    case = next(case for case in CASES if case.name == case_name)
    peer: Side = next(peer for peer in case.peers if peer.name == peer_name)
    torch.manual_seed(0)
    ours, theirs = case.ours.build(), peer.build()
    theirs = copy.deepcopy(share(case, peer, ours, theirs))  # transformers keeps the very tensors it is given
    task = make(case, batch or usual, device)
    ours, theirs = (without_chance(model).to(device) for model in (ours, theirs))
    channels = torch.channels_last if case.ours.channels_last else torch.contiguous_format
    ours, theirs = ours.to(memory_format=channels), theirs.to(memory_format=channels)
    with tempfile.TemporaryDirectory() as folder:
        steps = [our_step(task, ours, Path(folder), precision), peer_step(task, theirs, precision, device)]
        first = [step() for step in steps]
        apart = abs(first[0] - first[1]) / abs(first[1])
        if not apart <= (2e-2 if precision == "bf16" else 1e-4):
            raise SystemExit(f"{name}: the losses are {first[0]:.5f} and {first[1]:.5f}: nothing to time")
        alone = device == "cpu" and torch.get_num_threads() == 1
        clock = time.process_time if alone else time.perf_counter
        seconds: list[list[float]] = [[], []]
        for turn in range(rounds + 1):
            for i in (0, 1) if turn % 2 else (1, 0):
                synchronise(device)
                start = clock()
                steps[i]()
                synchronise(device)
                if turn:
                    seconds[i].append(clock() - start)
    mine, other = (statistics.median(s) * 1e3 for s in seconds)
    return Timing(name, peer_name, batch or usual, precision, mine, other, other / mine, apart)


def contrastive_memory(rows: int, width: int) -> dict[str, float]:
    """Extra peak of the loss with gradients, MB, in a fresh process; and that fewer rows are right."""
    parts = [
        torch.nn.functional.normalize(torch.randn(2048, width), dim=1).requires_grad_() for _ in range(2)
    ]
    scale = torch.tensor(14.3, requires_grad=True)
    grads = []
    for loss in (clip_loss, info_nce):
        for part in parts:
            part.grad = None
        loss(*parts, scale).backward()
        grads.append(torch.cat([part.grad for part in parts]))  # type: ignore[misc]
    apart = float((grads[0] - grads[1]).norm() / grads[1].norm())
    command = [sys.executable, __file__, "--memory", str(rows), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    extra, seconds = map(float, done.stdout.split()[-2:])
    whole = rows * rows * 4 / 1e6
    return {"extra_mb": extra, "seconds": seconds, "one_matrix_mb": whole, "gradient_apart": apart}


def memory_alone(rows: int, width: int) -> None:
    """Print the extra peak of one loss with gradients, and its seconds."""
    parts = [
        torch.nn.functional.normalize(torch.randn(rows, width), dim=1).requires_grad_() for _ in range(2)
    ]
    scale = torch.tensor(14.3, requires_grad=True)
    clip_loss(parts[0][:64], parts[1][:64], scale).backward()
    before, start = peak_resident(), time.perf_counter()
    clip_loss(*parts, scale).backward()
    print(peak_resident() - before, time.perf_counter() - start)


SCALING = """
import sys, time, torch
from limner import ranks
sys.path.insert(0, sys.argv[1])
import train
train.scaling_alone()
"""


def scaling_alone() -> None:
    """Print samples a second of a small CLIP at a global batch of 32, on as many ranks as there are."""
    torch.set_num_threads(1)
    from limner import ranks

    with ranks.joined("cpu"), tempfile.TemporaryDirectory() as folder:
        case = next(case for case in CASES if case.name == "clip_image")
        task = contrastive(case, 32 // ranks.size(), "cpu")
        step = our_step(task, without_chance(case.ours.build()), Path(folder), "bf16")
        step()
        start = time.perf_counter()
        for _ in range(4):
            step()
        if ranks.rank() == 0:
            print("samples/s", 4 * 32 / (time.perf_counter() - start))


def scaling() -> dict[str, float]:
    """Two processes of one thread against one, at the same global batch."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "scaling.py"
        script.write_text(SCALING, encoding="utf-8")
        for count in (1, 2):
            launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
            done = subprocess.run(
                [sys.executable, *launch, str(script), str(Path(__file__).parent)],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                check=True,
            )
            found[f"ranks_{count}"] = float(done.stdout.split()[-1])
    return found | {"efficiency": found["ranks_2"] / found["ranks_1"] / 2}


def main() -> None:
    """Print the table; write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", default=[*TASKS, "memory", "scaling"])
    parser.add_argument("--precision", nargs="*", default=["bf16"], choices=("fp32", "bf16"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--memory", nargs=2, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.memory:
        memory_alone(*given.memory)
        return
    rows, more = [], {}
    print(HEAD)
    for name in given.case:
        if name == "memory":
            more[name] = contrastive_memory(32_768, 512)
            print("contrastive loss at 32,768 x 512: ", more[name], flush=True)
        elif name == "scaling":
            more[name] = scaling()
            print("two processes against one: ", more[name], flush=True)
        else:
            for precision in given.precision:
                rows.append(measure(name, precision, given.device, given.rounds, given.batch))
                print(ROW.format(**rows[-1]._asdict()), flush=True)
    if given.write:
        target = RECORDS / f"train-{given.device}.json"
        old = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
        known = {(row.case, row.precision) for row in rows}
        kept = [row for row in old.get("rows", []) if (row["case"], row["precision"]) not in known]
        record = {**old, "machine": machine(given.device), **more}
        record["rows"] = [*kept, *(row._asdict() for row in rows)]
        target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"written to {target}")


if __name__ == "__main__":
    main()
