"""Vectors of pictures for probes and comparison, kept by the digest of weights, preprocessing and rows.

What is kept is a safetensors file in limner's cache (`LIMNER_CACHE`), which may be deleted at any time.
Vectors of encoders that limner does not have come in as a file: `keys` and `features` in .npz, or the tensor
`features` in .safetensors whose metadata holds `keys` as JSON.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal
from zipfile import is_zipfile

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from torch import nn

from limner.checkpoint import Bundle
from limner.data.sprites import cache_folder
from limner.data.transforms import to_u8
from limner.errors import CheckpointError, DataError
from limner.evaluate.pictures import Progress, device_of, normed
from limner.ready.abilities import ABILITIES
from limner.ready.towers import image_vectors, penultimate
from limner.shapes import ImageSpec
from limner.suite.rows import Rows

Space = Literal["joint", "probe"]
_BATCH: Final = 64
_FORMAT: Final = 1
_SHA256: Final = 64


class StoredFeatures(nn.Module):
    """An encoder of which only the vectors of some pictures are at hand.

    Args:
        vectors: key → its vector.
    """

    def __init__(self, vectors: dict[str, Float[np.ndarray, " d"]]) -> None:
        super().__init__()
        self.vectors = vectors


def features(
    bundle: Bundle, rows: Rows, space: Space, progress: Progress | None = None
) -> Float[np.ndarray, "n d"]:
    """Vectors of the pictures of rows, fp32, read from the cache where they have been made before.

    Args:
        bundle: any model that reads pictures, or stored vectors.
        rows: of these.
        space: "joint" gives unit vectors that are compared with those of texts; "probe" what the last layer
            before any projection or classifier gives.
        progress: counts pictures.
    Raises: CheckpointError when the model gives no such vectors; DataError when one is not finite, or a file
        of vectors lacks a row.
    """
    if isinstance(bundle.model, StoredFeatures):
        return _stored(bundle, rows, space)
    ability = ABILITIES["encode_text" if space == "joint" else "encode_image"]
    if not ability.has(bundle):
        raise CheckpointError(
            f"{bundle.path} is a {bundle.kind}, which gives no {space} vectors",
            wanted=ability.wanted,
            hint=ability.hint,
        )
    place = feature_folder() / f"{_identity(bundle, rows, space)}.safetensors"
    if place.is_file():
        return finite(np.asarray(load_file(place)["features"]), str(place))
    vectors = finite(_encoded(bundle, rows, space, progress), bundle.kind)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".partial")
    save_file({"features": vectors}, partial)
    partial.replace(place)
    return vectors


def feature_folder() -> Path:
    """Where vectors are kept."""
    return cache_folder() / "features"


def kept_bytes() -> int:
    """How much room they take."""
    return sum(path.stat().st_size for path in feature_folder().glob("*.safetensors"))


def finite(vectors: Float[np.ndarray, "n d"], origin: str) -> Float[np.ndarray, "n d"]:
    """The same vectors.

    Raises: DataError when a value is NaN or infinite.
    """
    wrong = ~np.isfinite(vectors).all(axis=1)
    if wrong.any():
        raise DataError(
            f"{int(wrong.sum())} of {len(vectors)} vectors of {origin} hold NaN or infinity",
            wanted="finite values",
            hint="limner verify MODEL looks for weights that are broken",
        )
    return vectors


def open_features(path: Path) -> Bundle:
    """A file of vectors as a model of which they are all that is known.

    Raises: CheckpointError when it is no such file.
    """
    try:
        keys, vectors = (_from_npz if path.suffix == ".npz" else _from_safetensors)(path)
        if vectors.ndim != 2 or len(keys) != len(vectors):
            raise ValueError(f"{len(keys)} keys, vectors of shape {vectors.shape}")
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is no file of vectors: {error}", wanted="keys, and features of shape (keys, width)"
        ) from error
    model = StoredFeatures(dict(zip(keys, vectors.astype(np.float32), strict=True)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Bundle(path.stem, model, ImageSpec(size=224), None, {}, digest, path)


def holds_features(path: Path) -> bool:
    """Whether a file holds vectors of pictures, not weights."""
    if not path.is_file():
        return False
    if path.suffix == ".npz":
        if not is_zipfile(path):
            return False
        with np.load(path) as arrays:
            return {"keys", "features"} <= set(arrays.files)
    if path.suffix == ".safetensors":
        with safe_open(path, "numpy") as file:
            return set(file.keys()) == {"features"} and "keys" in (file.metadata() or {})
    return False


def _from_npz(path: Path) -> tuple[list[str], np.ndarray]:
    with np.load(path) as arrays:
        return [str(key) for key in arrays["keys"]], arrays["features"]


def _from_safetensors(path: Path) -> tuple[list[str], np.ndarray]:
    with safe_open(path, "numpy") as file:
        keys: list[str] = json.loads(file.metadata()["keys"])
        return keys, file.get_tensor("features")


def _stored(bundle: Bundle, rows: Rows, space: Space) -> Float[np.ndarray, "n d"]:
    assert isinstance(bundle.model, StoredFeatures)
    if space == "joint":
        raise CheckpointError(
            f"{bundle.path} holds vectors of pictures alone", wanted="a model that reads texts too"
        )
    held = bundle.model.vectors
    missing = [key for key in rows.keys if key not in held]
    if missing:
        raise DataError(
            f"{bundle.path} lacks {len(missing)} of {len(rows.keys)} rows, {missing[0]!r} the first",
            wanted="a vector for each key of the table",
        )
    return finite(np.stack([held[key] for key in rows.keys]), str(bundle.path))


def _identity(bundle: Bundle, rows: Rows, space: Space) -> str:
    spec = bundle.image_spec.model_dump(mode="json")
    told: list[Any] = [_FORMAT, space, bundle.digest, spec, str(next(bundle.model.parameters()).dtype)]
    told.append(rows.pictures)
    if any(len(picture) != _SHA256 for picture in rows.pictures):
        told.append(f"{rows.table.path.resolve()} {rows.table.version}")
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


@torch.inference_mode()
def _encoded(bundle: Bundle, rows: Rows, space: Space, progress: Progress | None) -> Float[np.ndarray, "n d"]:
    read = image_vectors if space == "joint" else penultimate
    spec, device = bundle.image_spec, device_of(bundle)
    parts = []
    for places, pixels in rows.batches(lambda picture: to_u8(picture, spec), _BATCH):
        parts.append(read(bundle.model, normed(pixels, spec, device)).cpu().numpy())
        if progress:
            progress(places.stop, len(rows.keys))
    return np.concatenate(parts)
