"""What limner knows of one way to store one family of models, and what it finds out about one file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from limner.config import Config
from limner.convert.keymap import KeyMap
from limner.shapes import ImageSpec


class Weights(NamedTuple):
    """A checkpoint as it was read, before anyone knows what it is.

    Args:
        tensors: by the file's own keys, wrappers (`state_dict`, `model`) and `module.` taken off.
        facts: the other plain values of the file, such as `best_prec1` and `epoch`.
        sides: parsed JSON that lies beside the file, by name: `config.json`, `preprocessor_config.json`, …
        path: the file.
        sha256: of the file, 64 hex digits.
        container: "safetensors", "torch", "torch_legacy", "torchscript" or "npz".
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]
    sides: Mapping[str, Any]
    path: Path
    sha256: str
    container: str


class Description(NamedTuple):
    """What a checkpoint is.

    Args:
        config: sizes, from the shapes and the JSON beside it.
        image_spec: how pictures are prepared for it.
        task: "features", "classification", "contrastive", "pretraining", "captioning", "retrieval", "vqa",
            "nlvr2" or "masked_patch".
        labels: class names in the order of the logits; empty when nobody knows them.
        tokenizer: "clip", "clip_hf", "bert" or "" when the model reads no text.
        notes: what had to be assumed, one sentence each.
    """

    config: Config
    image_spec: ImageSpec
    task: str
    labels: tuple[str, ...] = ()
    tokenizer: str = ""
    notes: tuple[str, ...] = ()


class Dialect(NamedTuple):
    """One way to store one family.

    Args:
        name: "torchvision", "timm", "hf", "openai", "open_clip", "google", "akamaster", "salesforce", …
        architecture: key of `limner.models.ARCHITECTURES`.
        recognises: whether a file is of this kind, by its keys (and the JSON beside it) alone. At most one
            dialect says yes to a file.
        describe: finds sizes and preprocessing. Raises CheckpointError that says why it cannot.
        keymap: the table of keys for these sizes.
        companions: JSON files to write beside the weights, by name, for the other library to open them.
            None when limner only reads this dialect.
        checks: raises CheckpointError when the dialect cannot hold this config; called before writing.
    """

    name: str
    architecture: str
    recognises: Callable[[Weights], bool]
    describe: Callable[[Weights], Description]
    keymap: Callable[[Any], KeyMap]
    companions: Callable[[Any, Description], dict[str, Any]] | None = None
    checks: Callable[[Any], None] = lambda config: None
