"""Class names in the order of the logits: two public lists, and what the JSON beside a checkpoint says."""

import re
import runpy
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from limner.errors import CheckpointError


def _imagenet_names() -> tuple[str, ...]:
    """torchvision's list, out of the one file that holds it: importing torchvision takes as long as torch."""
    found = find_spec("torchvision")
    assert found is not None
    assert found.origin is not None
    names = runpy.run_path(str(Path(found.origin).parent / "models" / "_meta.py"))["_IMAGENET_CATEGORIES"]
    return tuple(names)


IMAGENET_1K: Final = _imagenet_names()
CIFAR_10: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_PLACEHOLDER: Final = re.compile(r"LABEL_\d+")


def labels_from(config: Mapping[str, Any], num_classes: int, origin: str = "config.json") -> tuple[str, ...]:
    """Read the class names of a transformers or timm config.

    Args:
        config: parsed JSON; `id2label` (transformers), `label_names` and `label_descriptions` (timm, at the
            top or in `pretrained_cfg`) are looked at.
        num_classes: outputs of the classifier.
        origin: file name, for the message.
    Returns: as many names as outputs, or none when the config knows no names (`LABEL_0` is no name).
    Raises: CheckpointError when the names are out of order, doubled or not as many as the outputs.
    """
    inner = config.get("pretrained_cfg")
    timm = {**(inner if isinstance(inner, Mapping) else {}), **config}
    if "id2label" in config:
        names = _by_number(config["id2label"], origin)
        _check_backwards(names, config.get("label2id"), origin)
    elif timm.get("label_names"):
        names = _described(timm["label_names"], timm.get("label_descriptions"), origin)
    else:
        return ()
    if not names or all(_PLACEHOLDER.fullmatch(name) for name in names):
        return ()
    if len(names) != num_classes:
        raise CheckpointError(
            f"{origin}: {len(names)} class names for {num_classes} outputs", wanted="one name for each output"
        )
    return names


def id2label(labels: Sequence[str]) -> dict[str, Any]:
    """Return `id2label` and `label2id` as transformers writes them; nothing when there are no labels."""
    if not labels:
        return {}
    numbered = {str(number): name for number, name in enumerate(labels)}
    return {"id2label": numbered, "label2id": {name: number for number, name in enumerate(labels)}}


def _by_number(table: Any, origin: str) -> tuple[str, ...]:
    """Sort by number: as strings, "10" comes before "2"."""
    if not isinstance(table, Mapping):
        raise CheckpointError(f"{origin}: id2label is a {type(table).__name__}", wanted="{number: name}")
    if not all(re.fullmatch(r"\d+", str(key)) for key in table):
        wrong = next(key for key in table if not re.fullmatch(r"\d+", str(key)))
        raise CheckpointError(f"{origin}: id2label has the key {wrong!r}", wanted="numbers 0, 1, 2, …")
    names = {int(key): str(name) for key, name in table.items()}
    if sorted(names) != list(range(len(table))):
        hole = next((number for number in range(len(table)) if number not in names), len(table))
        raise CheckpointError(f"{origin}: id2label has no name for class {hole}", wanted="every number once")
    return tuple(names[number] for number in range(len(names)))


def _check_backwards(names: tuple[str, ...], label2id: Any, origin: str) -> None:
    """Hold `label2id` against `id2label`: where they disagree, one of them is in a wrong order."""
    for name, number in (label2id or {}).items():
        if not str(number).isdigit() or int(number) >= len(names) or names[int(number)] != name:
            raise CheckpointError(
                f"{origin}: label2id says {name!r} is class {number}, id2label says otherwise",
                wanted="two tables that agree",
                hint="keep the one you trust and remove the other from the file",
            )


def _described(names: Any, descriptions: Any, origin: str) -> tuple[str, ...]:
    """Turn WordNet ids into words where timm gives words for all of them."""
    if isinstance(names, Mapping):
        names = _by_number(names, origin)
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise CheckpointError(f"{origin}: label_names is a {type(names).__name__}", wanted="a list of names")
    if isinstance(descriptions, Mapping) and all(name in descriptions for name in names):
        return tuple(str(descriptions[name]) for name in names)
    return tuple(str(name) for name in names)
