"""Finds the weights that a user names: a file, a folder, a hub repository, an address, a known public file.

    runs/vit.safetensors   models/clip/   hub:openai/clip-vit-base-patch32@main   hub:ORG/NAME@REVISION:FILE
    https://…/resnet20-12fca82f.th   https://…/weights.pt#sha256=…   openai:ViT-B/32

Of a folder or a repository the safest kind is taken: safetensors, then .npz, then a pickle; never a pickle
where safetensors lie. The network is used for `hub:`, addresses and known files alone, and never when
LIMNER_OFFLINE or HF_HUB_OFFLINE is 1. Tokens, mirrors and the cache of `hub:` are huggingface_hub's own.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from limner.convert import public
from limner.convert.download import Progress, download, offline
from limner.convert.weights import SIDES
from limner.data.sprites import cache_folder
from limner.errors import CheckpointError

COMPANIONS = (
    *SIDES,
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""Small files that are fetched along with weights."""

_FIRST = (
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
)
_LAST = ("pytorch_model.bin", "pytorch_model.bin.index.json", "open_clip_pytorch_model.bin")
_ENDINGS = ((".safetensors",), (".npz",), (".bin", ".pt", ".pth", ".th", ".ckpt"))
_SHARD = re.compile(r".*-\d{5}-of-\d{5}\.\w+")
_NO_WEIGHTS = re.compile(r"(optimizer|scheduler|scaler|training_args|rng_state|random_states|adapter_).*")
_HUB = re.compile(r"hub:(?P<repo>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^:]+))?(?::(?P<file>.+))?")


class _Source(NamedTuple):
    """What `hub:` names: a repository, a branch, tag or commit of it, and a file ("" for the weights)."""

    repo: str
    revision: str
    file: str


def resolve(name: str | Path, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """Find a weight file, and fetch it if it is elsewhere.

    Args:
        name: see above.
        cache: where to keep what is fetched; limner's cache folder, or that of huggingface_hub, when None.
        progress: called while an address is downloaded.
    Returns: a file on this machine that `read_weights` reads; the JSON that came with it lies beside it.
    Raises: CheckpointError when there is no such thing, it cannot be fetched, or is not what was published.
    """
    text = str(name)
    if text.startswith("hub:"):
        return _from_hub(text, cache)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return _from_address(text, cache, progress)
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return path / choose_weights([inside.name for inside in path.iterdir() if inside.is_file()], text)
    if known := public.find(text):
        return _fetched(known.url, known.sha256, cache, progress)
    raise CheckpointError(
        f"{text!r} does not exist",
        wanted="a file, a folder, hub:ORG/NAME, https://…, or a known file such as openai:ViT-B/32",
        hint="check the path"
        if "/" not in text or path.parent.is_dir()
        else f"hub:{text} if it is on the hub",
    )


def choose_weights(names: Iterable[str], origin: str) -> str:
    """The file to read among those of a folder: the safest kind there is.

    Args:
        names: of the folder's files.
        origin: of the folder, for the message.
    Raises: CheckpointError when there is none, or several and none is the usual one.
    """
    present = sorted(names)
    for usual in _FIRST:
        if usual in present:
            return usual
    kinds = [
        [n for n in present if n.endswith(ends) and not _NO_WEIGHTS.match(n) and not _SHARD.fullmatch(n)]
        for ends in _ENDINGS
    ]
    for found in kinds:
        usual_names = [name for name in _LAST if name in present] if found is kinds[-1] else []
        if usual_names or len(found) == 1:
            return (usual_names or found)[0]
        if found:
            raise CheckpointError(
                f"{origin} holds {len(found)} weight files: {', '.join(found[:5])}",
                wanted="one of them",
                hint=f"name it: {origin}{':' if origin.startswith('hub:') else '/'}{found[0]}",
            )
    held = f"weights, only {', '.join(present[:5])}" if present else "files"
    raise CheckpointError(
        f"{origin} holds no {held}",
        wanted="a .safetensors, .npz, .bin, .pt, .pth or .th file",
        hint="name the file itself if it is called otherwise or lies deeper",
    )


def published_hash(url: str) -> str:
    """The SHA-256 in an address: `#sha256=…`, a folder of 64 hex digits, or `-` and 8 before the ending.

    Returns: 64 hex digits, 8, or "" when it carries none.
    """
    parts = urlsplit(url)
    if said := re.fullmatch(r"sha256=([0-9a-fA-F]{8,64})", parts.fragment):
        return said[1].lower()
    if folder := re.search(r"/([0-9a-f]{64})/", parts.path):
        return folder[1]
    end = re.search(r"-([0-9a-f]{8})\.(?:pth|pt|th|bin|safetensors|npz)$", parts.path)
    return end[1] if end else ""


def _from_address(url: str, cache: Path | None, progress: Progress | None) -> Path:
    return _fetched(url.partition("#")[0], published_hash(url), cache, progress)


def _fetched(url: str, sha256: str, cache: Path | None, progress: Progress | None) -> Path:
    """The file of an address, in a folder of its own, so that JSON beside it is never another file's."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    if not re.fullmatch(r"[\w@+=,. -]{1,200}", name) or name.startswith("."):
        raise CheckpointError(
            f"{url} does not end in the name of a file",
            wanted="the address of the file itself",
            hint="copy the download link, not the page's",
        )
    digest = hashlib.sha256(f"{url} {sha256}".encode()).hexdigest()[:12]
    return download(url, (cache or cache_folder() / "weights") / digest / name, sha256, progress=progress)


def _parse(name: str) -> _Source:
    match = _HUB.fullmatch(name)
    if not match or {".", ".."} & set(re.split("[/@:]", name)):
        raise CheckpointError(
            f"{name!r} names no hub repository",
            wanted="hub:ORG/NAME, hub:ORG/NAME@REVISION or hub:ORG/NAME@REVISION:FILE",
            hint="hub:openai/clip-vit-base-patch32",
        )
    return _Source(match["repo"], match["revision"] or "main", match["file"] or "")


def _from_hub(name: str, cache: Path | None) -> Path:
    source = _parse(name)
    if offline():
        return _cached(source, name, cache, "LIMNER_OFFLINE or HF_HUB_OFFLINE forbids fetching it")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    api = HfApi()
    try:
        info = api.model_info(source.repo, revision=source.revision)
        present = [sibling.rfilename for sibling in info.siblings or []]
        return _bring(api.hf_hub_download, source, present, name, cache)
    except CheckpointError:
        raise
    except (HfHubHTTPError, EntryNotFoundError, ValueError) as error:
        raise CheckpointError(
            f"{name} cannot be had: {str(error).strip().splitlines()[0]}",
            wanted="a repository, revision and file that exist and that you may read",
            hint="check the name; for a private or gated one, run: hf auth login",
        ) from error
    except Exception as error:  # the client's own network errors, which differ from version to version
        return _cached(source, name, cache, f"the hub cannot be reached ({type(error).__name__})")


def _bring(
    fetch: Callable[..., str], source: _Source, present: list[str], name: str, cache: Path | None
) -> Path:
    """Fetch weights, then their parts and the small files beside them, all of the commit they came from."""

    def get(file: str, revision: str) -> Path:
        return Path(fetch(source.repo, file, revision=revision, cache_dir=cache))

    folder, _, file = source.file.rpartition("/")
    prefix = f"{folder}/" if folder else ""
    siblings = [other.removeprefix(prefix) for other in present if other.startswith(prefix)]
    siblings = [other for other in siblings if "/" not in other]
    wanted = prefix + (file or choose_weights(siblings, name))
    path = get(wanted, source.revision)
    commit = path.parts[-1 - len(wanted.split("/"))]  # …/snapshots/COMMIT/FILE
    parts = _parts(path) if wanted.endswith(".index.json") else []
    for other in (*parts, *(companion for companion in COMPANIONS if companion in siblings)):
        get(prefix + other, commit)
    return path


def _parts(index: Path) -> list[str]:
    """Names of the parts that an index lists, all of them beside it."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        plain = all(name == Path(name).name != ".." for name in names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        plain, names = False, set()
    if not plain:
        raise CheckpointError(
            f"{index.name} is no index of a sharded checkpoint",
            wanted="a weight_map",
            hint="name another file",
        )
    return sorted(names)


def _cached(source: _Source, name: str, cache: Path | None, why: str) -> Path:
    """The weights that an earlier run brought here."""
    from huggingface_hub import constants

    repo = Path(cache or constants.HF_HUB_CACHE) / f"models--{source.repo.replace('/', '--')}"
    ref = repo / "refs" / source.revision
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else source.revision
    folder = repo / "snapshots" / commit
    if source.file and (folder / source.file).is_file():
        return folder / source.file
    if folder.is_dir() and not source.file:
        return folder / choose_weights(os.listdir(folder), name)
    raise CheckpointError(
        f"{name} is not on this machine, and {why}",
        wanted=str(folder),
        hint=f"where there is a network: hf download {source.repo} --revision {source.revision} --local-dir "
        f"FOLDER; then give FOLDER instead of {name}",
    )
