"""Bundles: a model to use, with its preprocessing, vocabulary, labels and recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import nn

import limner
from limner.checkpoint.files import atomic_folder, check_sums, read_json, read_tensors, sha256, write_json
from limner.checkpoint.weights import Precision, built_with, narrowed, stored_weights
from limner.config import Config, build
from limner.data.bpe import CLIPTokenizer
from limner.data.ngram_dictionary import NGramDictionary
from limner.data.tokenizers import WordPiece
from limner.errors import CheckpointError
from limner.models import ARCHITECTURES, MODELS, architecture_of
from limner.models.blip import BLIP, BLIPConfig
from limner.models.clip import CLIP
from limner.models.convirt import ConVIRT
from limner.shapes import ImageSpec

DEFAULT = "limner_tiny"
"""The model that ships inside the package."""

ASSETS = Path(__file__).parents[1] / "assets"
WEIGHTS, CONFIG, TOKENIZER, CARD = "model.safetensors", "config.json", "tokenizer.json", "README.md"
_FORMAT = 1

AnyTokenizer = WordPiece | CLIPTokenizer | NGramDictionary


class Bundle(NamedTuple):
    """A model with everything that is needed to use it.

    Args:
        name: key of `MODELS` that it was built from; "" when its sizes are nobody's there.
        model: in eval mode, fp32.
        image_spec: how a picture becomes the model's input.
        tokenizer: None for a model without a text tower.
        recipe: the resolved recipe it was trained with, plain values.
        digest: first 12 hex digits of the SHA-256 of the weights file; names what is made with it.
        path: folder or file it was read from.
        labels: class names in the order of the logits; empty when nobody knows them.
        architecture: key of `ARCHITECTURES`; "" where nobody has asked.
        task: what it was trained for, as `limner.convert.dialect.Description` has it; "" when unknown.
        source: where the weights are from: dialect, container, sha256, notes; empty for limner's own.
    """

    name: str
    model: nn.Module
    image_spec: ImageSpec
    tokenizer: AnyTokenizer | None
    recipe: dict[str, Any]
    digest: str
    path: Path
    labels: tuple[str, ...] = ()
    architecture: str = ""
    task: str = ""
    source: Mapping[str, Any] = {}

    @property
    def kind(self) -> str:
        """What to call it in a message: its name, or its architecture."""
        return self.name or self.architecture or type(self.model).__name__

    def blip(self) -> tuple[BLIP, WordPiece]:
        """The model as a BLIP, with its tokenizer.

        Raises: CheckpointError when the bundle holds another kind of model.
        """
        if not isinstance(self.model, BLIP) or not isinstance(self.tokenizer, WordPiece):
            without = " without a tokenizer" if isinstance(self.model, BLIP) else ""
            raise CheckpointError(
                f"{self.path} is a {self.kind}{without}, which does not read pictures and texts together",
                wanted="a BLIP with its tokenizer",
                hint="the default model is one: --model limner_tiny",
            )
        return self.model, self.tokenizer

    def clip(self) -> tuple[CLIP, CLIPTokenizer]:
        """The model as a CLIP, with its tokenizer.

        Raises: CheckpointError when the bundle holds another kind of model.
        """
        if not isinstance(self.model, CLIP) or not isinstance(self.tokenizer, CLIPTokenizer):
            without = " without a tokenizer" if isinstance(self.model, CLIP) else ""
            raise CheckpointError(
                f"{self.path} is a {self.kind}{without}, which is no CLIP that reads texts",
                wanted="a CLIP with its tokenizer",
                hint="hub:openai/clip-vit-base-patch32 is one",
            )
        return self.model, self.tokenizer

    def convirt(self) -> tuple[ConVIRT, WordPiece]:
        """The model as a ConVIRT, with its tokenizer.

        Raises: CheckpointError when the bundle holds another kind of model.
        """
        if not isinstance(self.model, ConVIRT) or not isinstance(self.tokenizer, WordPiece):
            raise CheckpointError(
                f"{self.path} is a {self.kind}, which is no ConVIRT with its tokenizer",
                wanted="a ConVIRT with its tokenizer",
                hint="limner train recipes/convirt_flickr8k.toml makes one",
            )
        return self.model, self.tokenizer


def save_bundle(
    folder: str | Path,
    model: nn.Module,
    name: str,
    model_config: Config,
    image_spec: ImageSpec,
    tokenizer: AnyTokenizer | None = None,
    *,
    recipe: dict[str, Any] | None = None,
    card: str = "",
    dtype: Precision = "fp32",
    labels: Sequence[str] = (),
    task: str = "",
    source: Mapping[str, Any] | None = None,
) -> Path:
    """Write a model and all it needs to a folder, in one move; a bundle that is there already is replaced.

    Args:
        folder: where to; its parents are made.
        model: its weights are stored, tied ones once.
        name: key of `MODELS`; "" when its sizes are nobody's there.
        model_config: sizes of the model.
        image_spec: preprocessing.
        tokenizer: None for a model without a text tower.
        recipe: the resolved recipe, plain values.
        card: Markdown for README.md; none when empty.
        dtype: storage of floating weights; loading widens to fp32.
        labels: class names in the order of the logits.
        task: what the model was trained for.
        source: where the weights are from, plain values.
    Returns: the folder.
    Raises: CheckpointError when a weight does not fit `dtype`; ConfigError when the config is no model's.
    """
    kind = architecture_of(model_config)
    weights = {key: narrowed(tensor.cpu(), dtype) for key, tensor in stored_weights(model).items()}
    with atomic_folder(Path(folder)) as partial:
        save_file(weights, partial / WEIGHTS)
        (partial / WEIGHTS).chmod(0o644)  # safetensors leaves it readable by its owner alone
        if tokenizer is not None:
            (partial / TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
        if card:
            (partial / CARD).write_text(card, encoding="utf-8")
        sums = {path.name: sha256(path) for path in sorted(partial.iterdir()) if path.name != CARD}
        config = {
            "format": _FORMAT,
            "limner": limner.__version__,
            "name": name,
            "architecture": kind,
            "task": task,
            "labels": list(labels),
            "model": model_config.model_dump(mode="json"),
            "image_spec": image_spec.model_dump(mode="json"),
            "recipe": recipe or {},
            "source": dict(source or {}),
            "sha256": sums,
        }
        write_json(partial / CONFIG, config)
    return Path(folder)


def load(name_or_path: str | Path = DEFAULT, device: str | torch.device = "cpu") -> Bundle:
    """Read a bundle.

    Args:
        name_or_path: "limner_tiny" (ships in the package), a bundle's folder, or a run's folder.
        device: where the model goes.
    Returns: the bundle, its model in eval mode.
    Raises: CheckpointError when there is no bundle, or it is damaged, or does not fit its model.
    """
    folder = _find_bundle(name_or_path)
    config, origin = read_json(folder / CONFIG), str(folder / CONFIG)
    if config.get("format") != _FORMAT or not isinstance(config.get("sha256"), dict):
        raise CheckpointError(
            f"{origin} is format {config.get('format')!r}", wanted=f"format {_FORMAT} of a limner bundle"
        )
    _require(config, ("model", "image_spec", "recipe"), origin)
    kind = _architecture(config, folder)
    check_sums(folder, config["sha256"])
    _require(config["sha256"], (WEIGHTS,), origin)
    sizes = build(config["model"], ARCHITECTURES[kind].config, origin)
    model = built_with(sizes, read_tensors(folder / WEIGHTS), str(folder / WEIGHTS))
    return Bundle(
        name=config.get("name", ""),
        model=model.to(device),
        image_spec=build(config["image_spec"], ImageSpec, origin),
        tokenizer=_read_tokenizer(folder / TOKENIZER),
        recipe=config["recipe"],
        digest=config["sha256"][WEIGHTS][:12],
        path=folder,
        labels=tuple(config.get("labels", ())),
        architecture=kind,
        task=config.get("task", ""),
        source=config.get("source", {}),
    )


def is_bundle(name_or_path: str | Path) -> bool:
    """Whether a name or a folder is a bundle or a run of limner's, whole or not; other libraries write
    `config.json` beside `model.safetensors` too.
    """
    path = _place(name_or_path)
    if name_or_path == DEFAULT or (path / "checkpoints").is_dir():
        return True
    for folder in (path, path / "model"):
        if (folder / CONFIG).is_file():
            try:
                return "limner" in read_json(folder / CONFIG)
            except CheckpointError:
                return False
    return False


def bundle_digest(name_or_path: str | Path) -> str:
    """The digest of a bundle's weights as it was saved, without reading them."""
    return str(read_json(_find_bundle(name_or_path) / CONFIG)["sha256"][WEIGHTS])[:12]


def same_sizes(one: Config, other: Config) -> bool:
    """Whether two configs make the same model, whatever they say of training."""
    return type(one) is type(other) and _sizes(one) == _sizes(other)


def config_name(config: Config) -> str:
    """The first name in `MODELS` that has these sizes, whatever is said of training; "" when none has."""
    return next((name for name, line in MODELS.items() if same_sizes(line.config, config)), "")


OF_TRAINING = ("drop_path", "dropout", "init_std", "zero_init_last")
"""Fields of configs that say how a model is trained, not what it is."""


def _sizes(config: Config) -> dict[str, Any]:
    """What the module is made of; a BLIP without the heads for it has no joint space and nothing to share."""

    def kept(values: dict[str, Any]) -> dict[str, Any]:
        return {
            key: kept(value) if isinstance(value, dict) else value
            for key, value in values.items()
            if key not in OF_TRAINING
        }

    sizes = kept(config.model_dump())
    if isinstance(config, BLIPConfig):
        one_tower = "lm" not in config.heads or config.heads == ("lm",)
        idle = {"embed_dim": "itc" not in config.heads, "sharing": one_tower}
        sizes = {key: value for key, value in sizes.items() if not idle.get(key)}
    return sizes


def _architecture(config: Mapping[str, Any], folder: Path) -> str:
    """The key of `ARCHITECTURES`; a bundle from before it was written down is what its name says."""
    name = config.get("name", "")
    if name and name not in MODELS:
        raise CheckpointError(f"{folder} holds a {name!r}", wanted=f"one of {', '.join(sorted(MODELS))}")
    kind = config.get("architecture") or (name and architecture_of(MODELS[name].config))
    if kind not in ARCHITECTURES:
        raise CheckpointError(f"{folder} holds a {kind!r}", wanted=f"one of {', '.join(ARCHITECTURES)}")
    return str(kind)


def _require(values: Mapping[str, Any], keys: Sequence[str], origin: str) -> None:
    missing = [key for key in keys if key not in values]
    if missing:
        raise CheckpointError(f"{origin} lacks {', '.join(missing)}", wanted="a bundle that limner wrote")


def _read_tokenizer(path: Path) -> AnyTokenizer | None:
    """BERT's, CLIP's or a dictionary, as the kind of model in the file says."""
    if not path.exists():
        return None
    model = read_json(path).get("model") or {}
    kinds: dict[Any, type[AnyTokenizer]] = {"BPE": CLIPTokenizer, "NGrams": NGramDictionary}
    return kinds.get(model.get("type"), WordPiece).from_json(path.read_text(encoding="utf-8"))


def _place(name_or_path: str | Path) -> Path:
    return ASSETS / DEFAULT if name_or_path == DEFAULT else Path(name_or_path).expanduser()


def _find_bundle(name_or_path: str | Path) -> Path:
    path = _place(name_or_path)
    for folder in (path, path / "model"):
        if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
            return folder
    wanted = f'a folder with {CONFIG} and {WEIGHTS}, a run folder, or "{DEFAULT}"'
    hint = "limner train RECIPE --out RUN makes one"
    if (path / "checkpoints").is_dir():
        raise CheckpointError(
            f"the run {path} has not ended, so it has no model/", wanted=wanted, hint="resume it to its end"
        )
    if path.is_file():
        hint = f"limner convert {path} FOLDER --to limner makes one of another library's file"
    found = "is no bundle" if path.exists() else "does not exist"
    raise CheckpointError(f"{str(name_or_path)!r} {found}", wanted=wanted, hint=hint)
