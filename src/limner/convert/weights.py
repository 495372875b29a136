"""Reads a weight file of any make to tensors by name, and runs nothing that is in it; writes safetensors.

What a file is, is told by its first bytes, never by its name. Peak memory is about the size of the weights
that are kept: storages are read once, straight to where they stay.
"""

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from limner.convert.archives import open_archive
from limner.convert.arrays import read_npz
from limner.convert.dialect import Weights
from limner.convert.rebuilt import DTYPES, Blueprint, Inert
from limner.convert.refusals import FORMATS, damaged, foreign, oversized
from limner.convert.torchfiles import MAGIC, TorchFile, module_values, open_legacy, open_zip
from limner.convert.unwrap import Unwrapped, strip_npz, unwrap
from limner.errors import CheckpointError

SIDES = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "open_clip_config.json",
    "tokenizer_config.json",
    "generation_config.json",
)
"""JSON files beside weights that say what they are."""

_HEAD_BYTES = 512
_MAX_JSON = 16 << 20
_MAX_SHARDS = 1000
_MAGIC_BYTES = MAGIC.to_bytes(10, "little")
_VIEWS = 64
_MASK = "attn_mask"
"""Of a CLIP's text tower, in files of TorchScript: -inf where a word may not look."""


def read_weights(path: Path, allow_nonfinite: bool = False) -> Weights:
    """Read a weight file, or all the parts that an index lists.

    Args:
        path: a safetensors file, a file of torch.save, a TorchScript archive, an .npz, or the `*.index.json`
            of a sharded checkpoint.
        allow_nonfinite: whether NaN and infinity may be among the weights.
    Returns: what is in it, and the JSON beside it.
    Raises: CheckpointError when there is no such file, when it is damaged, of another kind, asks for anything
        but data, or holds no tensors, or NaN or infinity.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(
            f"{path} is a folder",
            wanted="a weight file",
            hint=f"name one inside it, such as {path / 'model.safetensors'}",
        )
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist", wanted=FORMATS, hint="check the path")
    weights = _read_index(path) if path.name.endswith(".index.json") else _read_one(path)
    _check(weights, allow_nonfinite)
    return weights._replace(sides=read_sides(path.parent))


def parts_of(path: Path) -> list[Path]:
    """The files that hold the tensors of what `read_weights` reads: itself, or the parts of an index."""
    if not path.name.endswith(".index.json"):
        return [path]
    return [path.parent / name for name in sorted(set(_read_json(path)["weight_map"].values()))]


def read_sides(folder: Path) -> dict[str, Any]:
    """Parse the JSON files of `SIDES` that a folder has.

    transformers 5 writes the preparation of pictures into `processor_config.json`, under `image_processor`;
    it is given out as the `preprocessor_config.json` of before.

    Raises: CheckpointError when one of them is no JSON object, or too long.
    """
    sides = {name: _read_json(folder / name) for name in SIDES if (folder / name).is_file()}
    inner = sides.get("processor_config.json", {}).get("image_processor")
    if isinstance(inner, dict):
        sides.setdefault("preprocessor_config.json", inner)
    return sides


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write tensors to a safetensors file, whole or not at all.

    Args:
        path: the file; one that is there is replaced; its folder is made.
        tensors: by name; those that share memory are written one by one.
        metadata: texts by name; `format` is "pt" unless it says otherwise, as transformers wants it.
    Returns: the path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(_apart(tensors), partial, {"format": "pt", **(metadata or {})})
        partial.chmod(0o644)  # safetensors leaves it readable by its owner alone
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers, no two tensors in one storage."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        place = whole.untyped_storage().data_ptr()
        apart[name] = whole.clone() if place in seen else whole
        seen.add(place)
    return apart


def _read_one(path: Path) -> Weights:
    origin, size = str(path), path.stat().st_size
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            digest = hashlib.file_digest(_rewound(file), "sha256").hexdigest()
            tensors, facts, container = _contents(_rewound(file), size, head, path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}", wanted="a file you may read") from error
    if not tensors:
        raise CheckpointError(f"{origin} holds no tensors", wanted="weights", hint="name another file")
    return Weights(tensors, facts, {}, path, digest, container)


def _rewound(file: BufferedReader) -> BufferedReader:
    file.seek(0)
    return file


def _contents(
    file: BufferedReader, size: int, head: bytes, path: Path
) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Tensors, facts and kind of a file, by its first bytes."""
    origin = str(path)
    if head[:4] == b"PK\x03\x04":
        archive = open_archive(file, size, origin)
        if any(name.endswith(".npy") for name in archive.members):
            arrays, facts = read_npz(archive)
            kept, prefix = strip_npz(arrays)
            return kept, {**facts, **({"prefix": prefix} if prefix else {})}, "npz"
        return _from_torch(open_zip(archive))
    if head[:1] == b"\x80" and _MAGIC_BYTES in head[:24]:
        return _from_torch(open_legacy(file, size, origin))
    if head[8:9] == b"{":
        return *_from_safetensors(path, size, head), "safetensors"
    raise foreign(origin, head)


def _from_torch(opened: TorchFile) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    value = opened.value
    if opened.container == "torchscript" and isinstance(value, Inert):
        value = module_values(value, opened.origin)
        value = {name: item for name, item in value.items() if "." not in name or isinstance(item, Blueprint)}
    found: Unwrapped = unwrap(value, opened.origin)
    numbers = {name: tensor.item() for name, tensor in opened.tensors(found.scalars).items()}
    return opened.tensors(found.tensors), {**found.facts, **numbers}, opened.container


def _from_safetensors(path: Path, size: int, head: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    length = struct.unpack("<Q", head[:8])[0]
    if length > size - 8:
        raise damaged(path, f"its header says it is {length:,} bytes long, and the file has {size:,}")
    if length > _MAX_JSON:
        raise oversized(path, f"its header is {length:,} bytes long")
    try:
        with safe_open(path, "pt") as opened:
            unknown = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
            unknown = {name: dtype for name, dtype in unknown.items() if dtype not in _SAFETENSORS_TYPES}
            if unknown:
                raise _unknown_type(path, *next(iter(unknown.items())))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return tensors, dict(opened.metadata() or {})
    except (SafetensorError, ValueError, RuntimeError, OverflowError) as error:
        raise damaged(path, f"safetensors cannot read it ({error})") from error


def _unknown_type(origin: object, name: str, dtype: object) -> CheckpointError:
    return CheckpointError(
        f"{origin} holds {name} as {dtype}",
        wanted="float64, float32, float16, bfloat16, whole numbers or bool",
        hint="convert it where it was made, for example with tensor.float()",
    )


def _read_index(path: Path) -> Weights:
    """A sharded checkpoint: every tensor from the part that the index names, and nothing else."""
    places = _read_json(path).get("weight_map")
    if (
        not isinstance(places, dict)
        or not all(isinstance(part, str) for part in places.values())
        or not places
    ):
        raise damaged(path, "it is no index of a sharded checkpoint: it has no weight_map")
    names = sorted(set(places.values()))
    if len(names) > _MAX_SHARDS or any(name in ("", "..") or Path(name).name != name for name in names):
        raise damaged(path, f"its parts are not files of its own folder: {names[:3]}")
    absent = [name for name in names if not (path.parent / name).is_file()]
    if absent:
        raise CheckpointError(
            f"{path} names {len(absent)} files that are not there: {', '.join(absent[:3])}",
            wanted="all parts in one folder",
            hint="download the missing parts to the same folder",
        )
    parts = {name: _read_one(path.parent / name) for name in names}
    astray = [key for key, name in places.items() if key not in parts[name].tensors]
    extra = [key for name in names for key in parts[name].tensors if places.get(key) != name]
    if astray or extra:
        raise damaged(path, f"it and its parts disagree on {(astray + extra)[:3]}")
    tensors = {key: parts[name].tensors[key] for key, name in places.items()}
    lines = "".join(f"{parts[name].sha256}  {name}\n" for name in names)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    first = parts[names[0]]
    return Weights(tensors, first.facts, {}, path, digest, first.container)


def _check(weights: Weights, allow_nonfinite: bool) -> None:
    """Refuse weights that are no numbers; a tensor that several names share is looked at once.

    Raises: CheckpointError that names the first such tensor.
    """
    seen: set[tuple[object, ...]] = set()
    storages: dict[int, int] = {}
    work = 0
    for name, tensor in weights.tensors.items():
        if str(tensor.dtype) not in DTYPES:
            raise _unknown_type(weights.path, name, tensor.dtype)
        view = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if (
            allow_nonfinite
            or name.endswith(_MASK)
            or not tensor.is_floating_point()
            or not tensor.numel()
            or view in seen
        ):
            continue
        seen.add(view)
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        work += tensor.numel() * tensor.itemsize
        if work > _VIEWS * (sum(storages.values()) + _MAX_JSON):
            raise oversized(weights.path, "its tensors are views of the same numbers, over and over")
        if not all(torch.isfinite(edge) for edge in torch.aminmax(tensor)):
            raise CheckpointError(
                f"{weights.path}: {name} holds NaN or infinity",
                wanted="finite weights",
                hint="take a checkpoint from before training diverged, or pass allow_nonfinite=True to look",
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON:
            raise oversized(path, f"it is longer than {_MAX_JSON:,} bytes")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, f"it is no JSON ({error})") from error
    if not isinstance(values, dict):
        raise damaged(path, "it holds no JSON object")
    return values


_SAFETENSORS_TYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "I16",
    "I8",
    "U8",
    "U16",
    "U32",
    "U64",
    "BOOL",
)
