"""How much a device does: FLOPs of a training step, counted once, and what part of its peak they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

PEAK_TFLOPS: Final = {
    "NVIDIA H100 80GB HBM3": 989.4,
    "NVIDIA H100 SXM5": 989.4,
    "NVIDIA H200": 989.4,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "NVIDIA A100-SXM4-40GB": 312.0,
    "Tesla V100-SXM2-32GB": 125.0,
    "NVIDIA L4": 121.0,
    "Tesla T4": 65.0,
}
"""Dense half-precision peaks by the name CUDA gives, from NVIDIA's data sheets."""


class Work:
    """FLOPs of the first step that is counted, and the rate that follows from it.

    Forward, backward, and what is made again where activations are not kept. No number of the run changes.

    Args:
        device: that does it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.flops_per_sample = 0.0

    @contextmanager
    def counted(self, samples: int) -> Iterator[None]:
        """Count the block as the step of so many samples on this device, unless a step is counted already.

        Compiled blocks run as they were written this once: a compiled one hides its work from the counter.
        """
        if self.flops_per_sample:
            yield
            return
        with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
            yield
        self.flops_per_sample = counter.get_total_flops() / samples

    def rates(self, samples_per_s: float) -> dict[str, float]:
        """TFLOP/s of this device, and its MFU where its peak is known; on CUDA its peak memory too.

        Args:
            samples_per_s: of this device alone.
        """
        tflops = self.flops_per_sample * samples_per_s / 1e12
        told = {"tflops": tflops}
        if self.device.type == "cuda":
            told["peak_memory_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
            if peak := PEAK_TFLOPS.get(torch.cuda.get_device_name(self.device)):
                told["mfu"] = tflops / peak
        return told
