"""`limner.load`: a name, a file, a folder or an address in, a model ready to use out."""

from pathlib import Path
from typing import Literal

import torch

from limner.checkpoint import DEFAULT
from limner.convert.opening import open_bundle
from limner.errors import ConfigError
from limner.ready.model import Ready

Precision = Literal["float32", "bfloat16", "float16"]
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    name_or_path: str | Path = DEFAULT,
    *,
    device: str = "cpu",
    dtype: Precision = "float32",
    tokenizer: str | Path | None = None,
    image_size: int | None = None,
    batch_size: int = 32,
) -> Ready:
    """Open a model to use.

    Args:
        name_or_path: "limner_tiny", a folder or a file of limner or another library, "hub:org/name",
            "openai:ViT-B/32" or a URL; only the last three use the network.
        device: "cpu", "cuda", "cuda:1", "mps".
        dtype: of the weights and of what is computed; vectors and probabilities are fp32 all the same.
        tokenizer: where to take it from, when the checkpoint has none or another is wanted.
        image_size: side of the input, pixels, when another than the checkpoint's is wanted; positions are
            interpolated.
        batch_size: pictures, or texts, at a time.
    Raises: CheckpointError when it cannot be opened; ConfigError when device, dtype or batch size are wrong.
    """
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype {dtype!r}", wanted=", ".join(_DTYPES))
    place = _device(device)
    bundle = open_bundle(name_or_path, tokenizer=tokenizer, image_size=image_size, device=place)
    return Ready(bundle._replace(model=bundle.model.to(_DTYPES[dtype])), batch_size=batch_size)


def _device(name: str) -> torch.device:
    """Check a device before gigabytes are read for it."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # AssertionError: torch without CUDA
        raise ConfigError(f"device {name!r}: {error}", wanted="one this torch has", hint="cpu") from error
    return device
