from pathlib import Path

import pytest
import torch

from limner.checkpoint import stored_weights
from limner.config import Config
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.keymap import write
from limner.convert.saving import FORMATS, convert, formats_for
from limner.convert.sniff import DIALECTS, sniff
from limner.convert.weights import read_weights
from limner.errors import CheckpointError
from limner.models import ARCHITECTURES, architecture_of, build
from limner.models.vit_config import ViTConfig
from limner.shapes import ImageSpec

READ_ONLY = [(dialect.name, dialect.architecture) for dialect in DIALECTS if dialect.companions is None]


def says_yes(weights: Weights) -> list[tuple[str, str]]:
    return [(dialect.name, dialect.architecture) for dialect in DIALECTS if dialect.recognises(weights)]


def test_every_dialect_is_of_a_family_and_has_a_name_of_its_own_there():
    named = [(dialect.name, dialect.architecture) for dialect in DIALECTS]
    assert len(set(named)) == len(named)
    assert {family for _, family in named} <= set(ARCHITECTURES)


NAMES = ("resnet", "vit", "vit_features", "vit_gap", "deit", "clip", "clip_gelu", "clip_resnet")
NAMES += ("captioner", "retriever", "blip", "vqa", "nlvr2")


@pytest.mark.parametrize("name", NAMES)
def test_exactly_one_dialect_recognises_what_each_format_writes(small_bundle, tmp_path: Path, name: str):
    bundle = small_bundle(name)
    formats = [name for name in formats_for(bundle.model.config) if name != "limner"]
    assert formats
    assert set(formats) <= set(FORMATS)
    for to in formats:
        folder = tmp_path / to
        done = convert(bundle, folder, to)
        (file,) = [folder / name for name in done.files if name.endswith(".safetensors")]
        found = says_yes(read_weights(file))
        assert found == [(to, bundle.architecture)], to


@pytest.mark.parametrize(("dialect", "family"), READ_ONLY, ids=[name for name, _ in READ_ONLY])
def test_exactly_one_dialect_recognises_what_is_only_read(small_configs, dialect: str, family: str):
    """The tensors of each layout that limner reads and never writes, made by its own table."""
    (kind,) = [d for d in DIALECTS if (d.name, d.architecture) == (dialect, family)]
    seen = 0
    for config in [*small_configs.values(), *hybrids()]:
        if architecture_of(config) != family:
            continue
        try:
            theirs = write(stored_weights(build(config)), kind.keymap(config))
        except (CheckpointError, KeyError, AttributeError, ValueError):
            continue  # a config that this layout cannot hold
        weights = Weights(theirs, {}, {}, Path("model.bin"), "0" * 64, "torch")
        found = says_yes(weights)
        assert len(found) <= 1, found
        seen += found == [(dialect, family)]
    assert seen or dialect in NOT_WRITTEN


NOT_WRITTEN = {"big_vision_stacked"}
"""Layouts that even their own table cannot write."""


def hybrids() -> list[Config]:
    sizes = {"image_size": 32, "patch_size": 16, "width": 64, "depth": 1, "num_heads": 1, "mlp_dim": 256}
    return [
        ViTConfig(**sizes, bit_stem=(1, 1, 1), num_classes=3),
        ViTConfig(**sizes, representation_dim=64, num_classes=3),
    ]


def weights(*keys: str, **sides: object) -> Weights:
    tensors = {key: torch.zeros(1) for key in keys}
    parsed = {f"{name}.json": value for name, value in sides.items()}
    return Weights(tensors, {}, parsed, Path("x.pth"), "0" * 64, "torch")


@pytest.mark.parametrize(
    ("keys", "looks"),
    [
        (("base_model.model.x.lora_A.weight",), "a LoRA adapter"),
        (("Qformer.bert.encoder.layer.0.x", "query_tokens"), "a BLIP-2"),
        (("visual.trunk.x", "logit_bias"), "a SigLIP"),
        (("model.layers.0.self_attn.q_proj.weight",), "a language model"),
        (("patch_embed.x", "blocks.0.ls1.gamma"), "a ViT with layer scale"),
        (("features.0.0.weight",), "a convolutional network of another family"),
        (("layers.0.blocks.0.norm1.weight",), "a Swin transformer"),
        (("visual_encoder.norm.weight",), "a part of a BLIP"),
        (("text_model.x",), "a part of transformers' CLIP"),
        (("layer1.0.conv1.weight",), "a part of a ResNet"),
        (("mystery",), "is like nothing that limner knows"),
    ],
)
def test_a_stranger_is_told_by_what_it_looks_like(keys, looks):
    with pytest.raises(CheckpointError) as caught:
        sniff(weights(*keys))
    assert looks in caught.value.given
    assert keys[0] in caught.value.given
    assert caught.value.hint


def test_a_stranger_of_transformers_is_called_what_its_json_calls_it():
    with pytest.raises(CheckpointError, match=r"its config\.json calls it 'mamba'"):
        sniff(weights("mixer.x", config={"model_type": "mamba"}))


def test_two_that_recognise_one_file_are_a_mistake_that_is_named():
    def describe(_: Weights) -> Description:
        return Description(ViTConfig.model_construct(), ImageSpec(size=32), "features")

    twins = [Dialect(name, "vit", lambda _: True, describe, lambda _: None) for name in ("one", "other")]
    with pytest.raises(CheckpointError, match=r"one vit and other vit[\s\S]*limner inspect"):
        sniff(weights("x"), twins)
    assert sniff(weights("x"), twins[:1])[0].name == "one"
