"""Speed and memory of limner's models beside the peers', on the same weights and the same tensors.

    python benchmarks/models.py                       every case, fp32 and bf16, forward and training step
    python benchmarks/models.py --case clip_text      some cases
    python benchmarks/models.py --write               also write benchmarks/records/models-<machine>.json

Outputs are compared before anything is timed. Ours and the peer's runs alternate, so that a noisy neighbour
hits both; the figure is the ratio of medians, above 1 where limner is faster. Peak memory is that of a fresh
process that does nothing else (CPU: resident set; CUDA: allocator).
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from model_pairs import CASES, Case, Side, share
from torch import Tensor, nn

RECORDS = Path(__file__).parent / "records"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TOLERANCE = {"fp32": 1e-4, "bf16": 6e-2}
HEAD = "case          peer           mode    dtype  limner ms   peer ms  ratio     diff      MB peer MB"
ROW = (
    "{case:<14}{peer:<15}{mode:<8}{dtype:<6}{limner_ms:>10.1f}{peer_ms:>10.1f}{ratio:>7.2f}"
    "{difference:>9.1e}{limner_mb:>8.0f}{peer_mb:>8.0f}"
)


class Timing(NamedTuple):
    """Medians of one case in one mode."""

    case: str
    peer: str
    mode: str
    dtype: str
    limner_ms: float
    peer_ms: float
    ratio: float
    difference: float
    limner_mb: float
    peer_mb: float


def synchronise(device: str) -> None:
    """Wait for the device's queue; nothing on CPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def forward(side: Side, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """One pass without gradients."""
    with torch.inference_mode():
        return side.run(model, *batch)


def train(side: Side, model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """One pass with gradients of every parameter; the optimiser is the same on both sides and left out."""
    model.zero_grad(set_to_none=True)
    output = side.run(model, *batch)
    output.float().square().mean().backward()
    return output.detach()


MODES: dict[str, Callable[[Side, nn.Module, tuple[Tensor, ...]], Tensor]] = {
    "forward": forward,
    "train": train,
}


def prepare(side: Side, mode: str, dtype: str, device: str, model: nn.Module | None = None) -> nn.Module:
    """The model of one side, ready for a mode."""
    model = (side.build() if model is None else model).to(device, DTYPES[dtype])
    if side.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model.train(mode == "train")


def pair(case: Case, peer: Side, mode: str, dtype: str, device: str) -> list[nn.Module]:
    """Both models with the same weights."""
    torch.manual_seed(0)
    ours, theirs = case.ours.build(), peer.build()
    theirs = share(case, peer, ours, theirs)
    return [prepare(side, mode, dtype, device, m) for side, m in ((case.ours, ours), (peer, theirs))]


def tensors(case: Case, side: Side, dtype: str, device: str) -> tuple[Tensor, ...]:
    """The batch of a case as a side takes it."""
    torch.manual_seed(1)
    batch = [t.to(device, DTYPES[dtype]) if t.is_floating_point() else t.to(device) for t in case.batch()]
    if side.channels_last:
        batch = [t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in batch]
    return tuple(batch)


def difference(case: Case, peer: Side, models: list[nn.Module], batches: list[tuple[Tensor, ...]]) -> float:
    """Largest difference of the two outputs, relative to the largest output; both in eval mode."""
    modes = [model.training for model in models]
    outputs = [
        forward(side, model.eval(), batch).float()
        for side, model, batch in zip((case.ours, peer), models, batches, strict=True)
    ]
    for model, training in zip(models, modes, strict=True):
        model.train(training)
    return float((outputs[0] - outputs[1]).abs().max() / outputs[1].abs().max())


def measure(case: Case, peer: Side, mode: str, dtype: str, device: str, rounds: int) -> Timing:
    """Compare, then time both sides in turn."""
    sides = (case.ours, peer)
    models = pair(case, peer, mode, dtype, device)
    batches = [tensors(case, side, dtype, device) for side in sides]
    apart = difference(case, peer, models, batches)
    if not apart <= TOLERANCE[dtype]:
        raise SystemExit(f"{case.name} and {peer.name} differ by {apart:.1e} in {dtype}: nothing to time")
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for i in (0, 1) if turn % 2 else (1, 0):
            synchronise(device)
            start = time.perf_counter()
            MODES[mode](sides[i], models[i], batches[i])
            synchronise(device)
            if turn:  # the first turn warms up
                seconds[i].append(time.perf_counter() - start)
    ours, theirs = (statistics.median(s) for s in seconds)
    del models
    memory = [peak_memory(case, side.name, mode, dtype, device) for side in sides]
    return Timing(
        case.name,
        peer.name,
        mode,
        dtype,
        ours * 1e3,
        theirs * 1e3,
        theirs / ours,
        apart,
        memory[0],
        memory[1],
    )


@cache
def peak_memory(case: Case, side: str, mode: str, dtype: str, device: str) -> float:
    """Peak of a fresh process, MB."""
    command = [sys.executable, __file__, "--alone", case.name, side, mode, dtype, "--device", device]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def alone(name: str, side_name: str, mode: str, dtype: str, device: str) -> None:
    """Run one side twice and print the peak."""
    case = next(case for case in CASES if case.name == name)
    side = next(side for side in (case.ours, *case.peers) if side.name == side_name)
    model, batch = prepare(side, mode, dtype, device), tensors(case, side, dtype, device)
    for _ in range(2):
        MODES[mode](side, model, batch)
    if device == "cuda":
        print(torch.cuda.max_memory_allocated() / 1e6)
    else:
        print(peak_resident())


def peak_resident() -> float:
    """Peak resident set of this process, MB; `getrusage` would count the parent's before the exec."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


def machine(device: str) -> dict[str, object]:
    """What the figures were measured on."""
    facts: dict[str, object] = {
        "device": torch.cuda.get_device_name()
        if device == "cuda"
        else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    cpu = Path("/proc/cpuinfo")
    if device == "cpu" and cpu.exists():
        lines = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
        facts["device"] = lines[0].split(": ")[1] if lines else facts["device"]
    return facts


def merged(target: Path, rows: Sequence[Any], names: Sequence[str]) -> list[dict[str, object]]:
    """The rows of a record, those measured anew in place of the old ones of the same names."""
    fresh = [row._asdict() for row in rows]
    old = json.loads(target.read_text(encoding="utf-8"))["rows"] if target.exists() else []
    known = {tuple(row[name] for name in names) for row in fresh}
    return [*(row for row in old if tuple(row[name] for name in names) not in known), *fresh]


def write_record(target: Path, rows: Sequence[Any], names: Sequence[str], device: str, rounds: int) -> None:
    """Write the rows of a run into its record.

    Args:
        target: the record.
        rows: named tuples.
        names: fields that tell rows apart.
        device: that they were measured on.
        rounds: behind each figure.
    """
    target.parent.mkdir(exist_ok=True)
    record = {"machine": machine(device), "rounds": rounds, "rows": merged(target, rows, names)}
    target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"written to {target}")


def main() -> None:
    """Print the table; write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="*", help="names of cases; all when left out")
    parser.add_argument("--mode", nargs="*", default=list(MODES), choices=MODES)
    parser.add_argument("--dtype", nargs="*", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.alone:
        alone(*given.alone, given.device)
        return
    rows = []
    print(HEAD)
    for case in CASES:
        if given.case and case.name not in given.case:
            continue
        for peer in case.peers:
            for mode in given.mode:
                for dtype in given.dtype:
                    row = measure(case, peer, mode, dtype, given.device, given.rounds)
                    rows.append(row)
                    print(ROW.format(**row._asdict()), flush=True)
    if given.write:
        names = ("case", "peer", "mode", "dtype")
        write_record(RECORDS / f"models-{given.device}.json", rows, names, given.device, given.rounds)


if __name__ == "__main__":
    main()
