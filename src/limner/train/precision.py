"""Which numbers a device computes fast, and whether a recipe asks for others."""

import platform

import torch


def fast_precision(device: torch.device) -> str:
    """What `train.precision = "auto"` becomes: "bf16" where the device has instructions for it, else "fp32".

    A CPU without them emulates bfloat16, a hundred times slower than fp32.

    Args:
        device: of the run.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and cpu_has_bf16()
    return "bf16" if native else "fp32"


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices by itself (AVX-512 BF16, AMX, or Arm's BF16)."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities:
        return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    return platform.machine() in ("x86_64", "AMD64") and bool(torch.cpu._is_amx_tile_supported())


def slow_precision(precision: str, device: torch.device) -> str:
    """What to say of a precision that the device emulates; empty when it is fast.

    Args:
        precision: "fp32", "bf16" or "fp16".
        device: of the run.
    """
    slow = precision != "fp32" and device.type == "cpu" and (precision == "fp16" or not cpu_has_bf16())
    return f"{precision} is emulated on this CPU and very slow; --set train.precision=fp32" if slow else ""


def in_precision(precision: str, device: torch.device) -> torch.autocast:
    """The context of a forward pass in "fp32", "bf16" or "fp16"."""
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None)
