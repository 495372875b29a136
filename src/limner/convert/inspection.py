"""What a checkpoint is, as plain values: nothing is run, and of other libraries' files nothing is made."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limner import checkpoint
from limner.checkpoint import Bundle, config_name, is_bundle
from limner.checkpoint.bundle import OF_TRAINING, WEIGHTS, AnyTokenizer
from limner.checkpoint.files import read_tensors, sha256
from limner.config import Config
from limner.convert.opening import Found, find, locate
from limner.convert.tokenizer_files import tokenizer_beside
from limner.convert.verify import published
from limner.convert.weights import parts_of
from limner.data.bpe import CLIPTokenizer
from limner.data.ngram_dictionary import NGramDictionary
from limner.models import ARCHITECTURES, MODELS, architecture_of


def inspect(name: str | Path, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Tell what a model is.

    Args:
        name: as `open_bundle` takes it.
        options: likewise.
    Returns: plain values: `family`, `variant` ("" when its sizes are nobody's in `MODELS`), `dialect`,
        `like` (a model there that differs little, and in what), `task`, `container`, `dtypes`, `bytes`,
        `tensors`, `parameters`, `sizes`, `pictures`, `tokenizer`, `labels`, `missing` and `unused` keys,
        `notes`, `sha256`, `published` ("" when it is no known public file).
    Raises: CheckpointError when it cannot be read, or is nothing that limner knows.
    """
    if is_bundle(name):
        return _of_bundle(checkpoint.load(name), str(name))
    path, asked = locate(name)
    if is_bundle(path):
        return _of_bundle(checkpoint.load(path), asked)
    return _of_file(find(path, options), asked)


def _of_bundle(bundle: Bundle, asked: str) -> dict[str, Any]:
    tensors = checkpoint.stored_weights(bundle.model)
    file = bundle.path / WEIGHTS
    config: Config = bundle.model.config  # type: ignore[assignment]
    return {
        "source": asked,
        "file": str(file),
        "dialect": "limner",
        **_of_model(config, bundle.task, bundle.image_spec.model_dump(mode="json"), bundle.labels),
        "variant": bundle.name,
        "container": "safetensors",
        "dtypes": _dtypes(read_tensors(file).values()),
        "bytes": file.stat().st_size,
        "tensors": len(tensors),
        "tokenizer": _tokenizer(bundle.tokenizer),
        "missing": [],
        "unused": [],
        "notes": list(bundle.source.get("notes", ())),
        "sha256": sha256(file),
        "published": _published(bundle.source),
    }


def _of_file(found: Found, asked: str) -> dict[str, Any]:
    weights, dialect, description, missing, unused = found
    tokenizer, notes = tokenizer_beside(weights.path.parent, description, dialect.name)
    shown = _of_model(
        description.config,
        description.task,
        description.image_spec.model_dump(mode="json"),
        description.labels,
    )
    source = {"sha256": weights.sha256, "name": asked, "file": weights.path.name}
    return {
        "source": asked,
        "file": str(weights.path),
        "dialect": dialect.name,
        **shown,
        "container": weights.container,
        "dtypes": _dtypes(weights.tensors.values()),
        "bytes": sum(part.stat().st_size for part in parts_of(weights.path)),
        "tensors": len(weights.tensors),
        "tokenizer": _tokenizer(tokenizer),
        "missing": missing,
        "unused": unused,
        "notes": [*description.notes, *notes],
        "sha256": weights.sha256,
        "published": _published(source),
    }


def _of_model(config: Config, task: str, pictures: dict[str, Any], labels: tuple[str, ...]) -> dict[str, Any]:
    with torch.device("meta"):
        model = ARCHITECTURES[architecture_of(config)].build(config)
    return {
        "family": architecture_of(config),
        "variant": config_name(config),
        "like": _like(config),
        "task": task,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "sizes": config.model_dump(mode="json"),
        "pictures": pictures,
        "labels": list(labels),
    }


_FREE = {"num_classes", "activation", "layer_norm_eps", "representation_dim", "vocab_size", "image_size"}


class _Nearest(NamedTuple):
    """How many fields differ, and the model."""

    changes: int
    model: dict[str, Any]


def _like(config: Config) -> dict[str, Any]:
    """The named model that differs in no more than what is easily changed, and how; {} when there is none."""
    ours, best = _flat(config.model_dump(mode="json")), _Nearest(len(_FREE), {})
    for name, line in MODELS.items():
        if type(line.config) is not type(config):
            continue
        theirs = _flat(line.config.model_dump(mode="json"))
        changed = {key: value for key, value in ours.items() if theirs.get(key) != value}
        changed = {key: value for key, value in changed.items() if key.split(".")[-1] not in OF_TRAINING}
        easy = all(key.split(".")[-1] in _FREE for key in changed) and ours.keys() == theirs.keys()
        if easy and 0 < len(changed) < best.changes:
            best = _Nearest(len(changed), {"name": name, "but": changed})
    return best.model


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _dtypes(tensors: Iterable[Tensor]) -> dict[str, int]:
    """How many tensors there are of each kind of number."""
    return dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors).most_common())


def _tokenizer(tokenizer: AnyTokenizer | None) -> dict[str, Any] | None:
    if tokenizer is None:
        return None
    kind = f"CLIP ({tokenizer.dialect})" if isinstance(tokenizer, CLIPTokenizer) else "WordPiece"
    kind = "n-grams" if isinstance(tokenizer, NGramDictionary) else kind
    return {"kind": kind, "words": tokenizer.vocab_size}


def _published(source: Mapping[str, Any]) -> str:
    known = published(source)
    return known.name if known else ""
