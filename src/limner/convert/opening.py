"""Opens anything: a bundle of limner's, a run, a file or a folder of another library, a name of the hub.

What a file is, is told by its keys and shapes and by the JSON beside it; every tensor of it finds its place,
and every tensor of the model its values, or it is refused. Nothing is guessed without a note that says so.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from limner import checkpoint
from limner.checkpoint import Bundle, built_with, config_name, is_bundle
from limner.checkpoint.bundle import WEIGHTS
from limner.config import Config
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.hub import resolve
from limner.convert.keymap import leftovers, read
from limner.convert.preprocessing import at_size
from limner.convert.public import PUBLIC
from limner.convert.sniff import sniff
from limner.convert.tokenizer_files import given_tokenizer, tokenizer_beside
from limner.convert.weights import read_weights
from limner.errors import CheckpointError, ConfigError
from limner.models import MODELS, architecture_of, canonical
from limner.models.clip_resnet import CLIPResNet
from limner.models.positions import Method, resize_positions, with_image_size
from limner.models.resnet import ResNet
from limner.models.vit import ViT

POSITIONS: Final[dict[str, Method]] = {
    "google": "google",
    "timm": "timm",
    "torchvision": "torchvision",
    "hf": "hf",
    "big_vision": "google",
    "openai": "open_clip",
    "open_clip": "open_clip",
    "salesforce": "blip",
}
"""How each library interpolates positions, by how its dialects' names begin; limner's own models as timm."""

_REPOSITORY: Final = r"(openai|google|facebook|microsoft|Salesforce|laion)/[\w.-]+|timm/[\w-]+\.[\w.-]+"


class Found(NamedTuple):
    """What a file of another library is, before a model is made of it.

    Args:
        weights: as they were read.
        dialect: whose layout it is.
        description: sizes, preprocessing, task.
        missing: keys that this kind of model has and the file lacks.
        unused: keys of the file that have no place in the model.
    """

    weights: Weights
    dialect: Dialect
    description: Description
    missing: list[str]
    unused: list[str]


def find(path: Path, options: Mapping[str, Any] | None = None) -> Found:
    """Read a weight file and tell what it is.

    Args:
        path: of the file.
        options: what no file can tell and the user knows, such as {"activation": "quick_gelu"}.
    Raises: CheckpointError when it cannot be read, or is nothing that limner knows.
    """
    weights = read_weights(path)
    if options:
        weights = weights._replace(sides={**weights.sides, "options": dict(options)})
    dialect, description = sniff(weights)
    if options and dialect.architecture != "clip":
        raise CheckpointError(
            f"{', '.join(options)} given for a {dialect.architecture} of {dialect.name}",
            wanted="nothing: its file says it all",
            hint="leave it out",
        )
    missing, unused = leftovers(weights.tensors, dialect.keymap(description.config))
    return Found(weights, dialect, description, missing, unused)


def open_bundle(
    name: str | Path,
    *,
    tokenizer: str | Path | None = None,
    image_size: int | None = None,
    device: str | torch.device = "cpu",
    options: Mapping[str, Any] | None = None,
) -> Bundle:
    """Open a model, whoever wrote it.

    Args:
        name: "limner_tiny"; the folder of a bundle or of a run; a weight file; a folder of transformers, timm
            or open_clip; `hub:ORG/NAME[@REVISION]`; a URL or the name of a public file, `openai:ViT-B/32`.
        tokenizer: file or folder, when it is not the one that lies beside the weights.
        image_size: side of the input in pixels, when not the model's own; positions are interpolated as the
            library that the weights are from does it.
        device: where the model goes.
        options: what no file can tell, such as {"activation": "quick_gelu"}.
    Returns: the model in eval mode, fp32, with all that is known of it.
    Raises: CheckpointError when it cannot be opened, with the reason.
    """
    if is_bundle(name):
        bundle = checkpoint.load(name)
    else:
        path, asked = locate(name)
        bundle = checkpoint.load(path) if is_bundle(path) else _opened(find(path, options), asked, options)
    if tokenizer is not None:
        bundle = bundle._replace(tokenizer=given_tokenizer(Path(tokenizer), bundle.model))
    if image_size is not None and image_size != bundle.image_spec.size:
        bundle = resized(bundle, image_size)
    bundle.model.to(device)
    return bundle


def digest_of(name: str | Path) -> str:
    """The digest that the bundle of a name has, without making a model."""
    if is_bundle(name):
        return checkpoint.bundle_digest(name)
    path, _ = locate(name)
    return checkpoint.bundle_digest(path) if is_bundle(path) else read_weights(path).sha256[:12]


def _opened(found: Found, asked: str, options: Mapping[str, Any] | None) -> Bundle:
    weights, dialect, description, _, _ = found
    origin, config = str(weights.path), description.config
    ours = read(weights.tensors, dialect.keymap(config), origin)
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights.tensors.values()})
    weights = weights._replace(tensors={})
    del found  # with it the last hold on what the file had, so that halves go as they are widened
    model = built_with(config, ours, origin)
    tokenizer, notes = tokenizer_beside(weights.path.parent, description, dialect.name)
    source = {
        "dialect": dialect.name,
        "name": asked,
        "file": weights.path.name,
        "container": weights.container,
        "sha256": weights.sha256,
        "dtypes": dtypes,
        "notes": [*description.notes, *notes],
        **({"options": dict(options)} if options else {}),
    }
    return Bundle(
        name=config_name(config),
        model=model,
        image_spec=description.image_spec,
        tokenizer=tokenizer,
        recipe={},
        digest=_digest(weights.sha256, options),
        path=weights.path,
        labels=description.labels,
        architecture=architecture_of(config),
        task=description.task,
        source=source,
    )


def _digest(sha256: str, changes: Mapping[str, Any] | None) -> str:
    """Of the weights; of what was changed too, since embeddings then differ."""
    if not changes:
        return sha256[:12]
    return hashlib.sha256(f"{sha256} {sorted(changes.items())}".encode()).hexdigest()[:12]


def resized(bundle: Bundle, image_size: int) -> Bundle:
    """The same model for pictures of another size.

    Args:
        bundle: its model is taken over, not copied.
        image_size: side of the square input, pixels.
    Raises: CheckpointError when there is no such size for it.
    """
    dialect = str(bundle.source.get("dialect", ""))
    method: Method = next((way for library, way in POSITIONS.items() if dialect.startswith(library)), "timm")
    try:
        model = _resized_model(bundle.model, image_size, method)
    except ValueError as error:  # of pydantic: the sizes do not go together
        raise CheckpointError(
            f"image_size {image_size} for {bundle.kind}: {error}", wanted="a size of at least one patch"
        ) from error
    config: Config = model.config  # type: ignore[assignment]
    return bundle._replace(
        name=config_name(config),
        model=model.eval(),
        image_spec=at_size(bundle.image_spec, image_size),
        digest=_digest(bundle.digest, {"image_size": image_size}),
    )


def _resized_model(model: nn.Module, image_size: int, method: Method) -> nn.Module:
    if isinstance(model, ResNet):  # reads any size
        return model
    if isinstance(model, ViT):
        return with_image_size(model, image_size, method)
    tower = getattr(model, "vision", None)
    if isinstance(tower, CLIPResNet):
        _resize_pool(tower, image_size, method)
    elif isinstance(tower, ViT):
        tower = with_image_size(tower, image_size, method)
    else:
        raise CheckpointError(
            f"{type(model).__name__} for another image size", wanted="a ResNet, a ViT, a CLIP or a BLIP"
        )
    model.vision = tower
    model.config = model.config.model_copy(update={"vision": tower.config})  # type: ignore[operator, union-attr]
    return model


def _resize_pool(tower: CLIPResNet, image_size: int, method: Method) -> None:
    """The attention pool of CLIP's ResNets has a position a cell, after that of the mean."""
    config = type(tower.config).model_validate(tower.config.model_dump() | {"image_size": image_size})
    old, new = tower.config.grid_size, config.grid_size
    table: Tensor = tower.attnpool.positional_embedding.detach()
    grids = ((old, old), (new, new))
    tower.attnpool.positional_embedding = nn.Parameter(resize_positions(table[None], 1, *grids, method)[0])
    tower.config = config


def locate(name: str | Path) -> tuple[Path, str]:
    """Find the weight file, or the folder of a bundle, that a name means; fetch it if it is elsewhere.

    Returns: its path; what to call it in records: the name of something public, or of the file.
    Raises: CheckpointError when there is none.
    """
    text = str(name)
    here = Path(name).expanduser().exists()
    if not here and ":" not in text:
        _refuse_sizes(text)
    path = resolve(name)
    asked = path.name if here else text
    return (path.parent if path.name == WEIGHTS and is_bundle(path.parent) else path), asked


def _refuse_sizes(name: str) -> None:
    """Raise CheckpointError when a name is that of sizes alone, with public weights of that size."""
    try:
        key = canonical(name)
    except ConfigError:
        return
    hubs = [f"hub:{alias}" for alias in MODELS[key].aliases if re.fullmatch(_REPOSITORY, alias)]
    files = [file.name for file in PUBLIC.values() if file.model == key]
    if f"hub:{name}" in hubs:
        hubs, files = [f"hub:{name}"], []
    raise CheckpointError(
        f"{name!r} names sizes; which weights of those sizes?",
        wanted="limner_tiny, a file, a folder, hub:ORG/NAME, a URL or a known public file",
        hint=" or ".join([*files[:3], *hubs[:2]]) or f"the path of a file of {key}",
    )
