"""transformers' ViT and DeiT: every class saved, opened, run beside it, written, opened there again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.convert import keymap as keys
from limner.convert.dialect import Description
from limner.convert.preprocessing import GOOGLE_VIT, at_size
from limner.convert.vit_hf import DIALECTS
from limner.errors import CheckpointError
from limner.models.vit import ViT, ViTConfig
from limner.shapes import ImageSpec

HF, MEMORY, STUDENT, STUDENT_MEMORY, HEADLESS = DIALECTS
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
}
CONFIG = ViTConfig(
    image_size=32,
    patch_size=8,
    width=64,
    depth=2,
    num_heads=4,
    mlp_dim=96,
    num_classes=3,
    layer_norm_eps=1e-12,
)
NAMES = {"id2label": {0: "cat", 1: "dog", 2: "owl"}, "label2id": {"cat": 0, "dog": 1, "owl": 2}}

CLASSES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "classifier": ("ViT", "ViTForImageClassification", NAMES),
    "odd size": ("ViT", "ViTForImageClassification", NAMES | {"image_size": 35}),
    "own eps, tanh": (
        "ViT",
        "ViTForImageClassification",
        NAMES | {"layer_norm_eps": 1e-6, "hidden_act": "gelu_new"},
    ),
    "quick": ("ViT", "ViTForImageClassification", NAMES | {"hidden_act": "quick_gelu"}),
    "pooler": ("ViT", "ViTModel", {}),
    "narrow pooler": ("ViT", "ViTModel", {"pooler_output_size": 24}),
    "no pooler": ("ViT", "ViTModel", {"add_pooling_layer": False}),
    "student": ("DeiT", "DeiTForImageClassification", NAMES),
    "teacher": ("DeiT", "DeiTForImageClassificationWithTeacher", NAMES),
    "DeiT": ("DeiT", "DeiTModel", {}),
}


def their_model(name: str) -> Any:
    import transformers

    family, cls, own = CLASSES[name]
    asked = dict(own)
    built = {key: asked.pop(key) for key in ("add_pooling_layer",) if key in asked}
    config = getattr(transformers, f"{family}Config")(**(SIZES | asked))
    return getattr(transformers, cls)(config, **built)


def theirs_says(model: Any, ours: ViT) -> Callable[[Tensor], Tensor]:
    def say(pixels: Tensor) -> Tensor:
        out = model(pixels)
        if ours.config.num_classes:
            return out.logits
        return out.pooler_output if ours.config.representation_dim else out.last_hidden_state[:, 0]

    return say


def saved(model: Any, folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON that transformers writes."""
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors"), {
        "config": json.loads((folder / "config.json").read_text())
    }


@pytest.mark.peer
@pytest.mark.parametrize("name", CLASSES)
def test_every_class_runs_the_same(
    name: str,
    tmp_path: Path,
    stirred: Callable[..., Any],
    open_vit: Callable[..., Any],
    same_logits: Callable[..., None],
) -> None:
    theirs = stirred(their_model(name))
    state, sides = saved(theirs, tmp_path)
    ours, description, dialect = open_vit(state, **sides)
    assert dialect is (STUDENT if name == "student" else HF)
    assert description.labels == (("cat", "dog", "owl") if description.config.num_classes else ())
    same_logits(ours, theirs_says(theirs, ours))
    written = keys.write(ours.state_dict(), dialect.keymap(description.config))
    assert all(torch.equal(written[key], state[key]) for key in written)
    assert {key for key in state if key not in written} <= {"pooler.dense.weight", "pooler.dense.bias"}


@pytest.mark.peer
@pytest.mark.parametrize("name", ["classifier", "student", "teacher", "pooler", "DeiT"])
def test_names_in_memory_are_read_too(
    name: str, stirred: Callable[..., Any], open_vit: Callable[..., Any], same_logits: Callable[..., None]
) -> None:
    """What `torch.save(model.state_dict())` holds in transformers 5; in 4 it holds the names on disk."""
    theirs = stirred(their_model(name))
    ours, _, dialect = open_vit(theirs.state_dict(), config=theirs.config.to_dict())
    assert dialect in DIALECTS
    same_logits(ours, theirs_says(theirs, ours))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in CLASSES if name != "student"])
def test_transformers_opens_what_is_written(
    name: str,
    tmp_path: Path,
    stirred: Callable[..., Any],
    open_vit: Callable[..., Any],
    same_logits: Callable[..., None],
) -> None:
    import transformers

    theirs = stirred(their_model(name))
    state, sides = saved(theirs, tmp_path / "theirs")
    ours, description, _ = open_vit(state, **sides)
    HF.checks(description.config)
    folder = tmp_path / "ours"
    folder.mkdir()
    written = keys.write(ours.state_dict(), HF.keymap(description.config))
    save_file(written, folder / "model.safetensors", metadata={"format": "pt"})
    for file, value in HF.companions(description.config, description).items():
        (folder / file).write_text(json.dumps(value))
    pooled = (
        {}
        if description.config.representation_dim or description.config.num_classes
        else {"add_pooling_layer": False}
    )
    again, told = getattr(transformers, CLASSES[name][1]).from_pretrained(
        folder, output_loading_info=True, **pooled
    )
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    same_logits(ours, theirs_says(again.eval(), ours))
    if description.labels:
        assert again.config.id2label == {0: "cat", 1: "dog", 2: "owl"}
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    assert processor.size["height"] == description.config.image_size


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_round_trip_is_bit_equal(
    dialect: Any, stirred: Callable[..., Any], open_vit: Callable[..., Any]
) -> None:
    config = CONFIG.model_copy(update={"distilled": "student" in dialect.name})
    if dialect is HEADLESS:
        config = config.model_copy(update={"num_classes": 0})
    model = stirred(ViT(config))
    if config.distilled:
        torch.nn.init.zeros_(model.head_dist.weight)
        torch.nn.init.zeros_(model.head_dist.bias)
    state = model.state_dict()
    told = {"num_attention_heads": 4}
    ours, found, by = open_vit(keys.write(state, dialect.keymap(config)), config=told)
    assert (found.config, by) == (config, dialect)
    assert all(torch.equal(ours.state_dict()[key], state[key]) for key in state)


def test_without_json_what_is_assumed_is_said(open_vit: Callable[..., Any]) -> None:
    config = CONFIG.model_copy(update={"num_heads": 1})
    _, found, _ = open_vit(keys.write(ViT(config).state_dict(), HF.keymap(config)))
    assert found.config == config
    assert found.image_spec == at_size(GOOGLE_VIT, 32)
    for said in ("1 heads were assumed", "epsilon 1e-12", "preprocessor_config.json"):
        assert any(said in note for note in found.notes)


def test_the_epsilon_is_the_jsons(open_vit: Callable[..., Any]) -> None:
    """Trap 15: 1e-12 when the JSON is silent; with little variance the difference shows."""
    state = keys.write(ViT(CONFIG).state_dict(), HF.keymap(CONFIG))
    silent = open_vit(state, config={"num_attention_heads": 4})[0]
    told = open_vit(state, config={"num_attention_heads": 4, "layer_norm_eps": 1e-6})[0]
    faint = 1e-4 * torch.randn(1, 17, 64)
    assert (silent.norm(faint) - told.norm(faint)).abs().max() > 0.1
    assert (told.config.layer_norm_eps, silent.config.layer_norm_eps) == (1e-6, 1e-12)


def test_the_processor_beside_the_file_is_read(open_vit: Callable[..., Any]) -> None:
    state = keys.write(ViT(CONFIG).state_dict(), HF.keymap(CONFIG))
    told = {"num_attention_heads": 4, "model_type": "deit"}
    processor = {"size": 40, "crop_size": 32, "image_mean": [0.1, 0.2, 0.3]}
    spec = open_vit(state, config=told, preprocessor_config=processor)[1].image_spec
    assert (spec.size, spec.resize_px, spec.crop, spec.mean) == (32, 40, "squash", (0.1, 0.2, 0.3))
    with pytest.raises(CheckpointError, match="48 pixels, the model reads 32"):
        open_vit(state, config=told, preprocessor_config={"size": 48, "do_center_crop": False})


@pytest.mark.parametrize(
    ("extra", "told", "message"),
    [
        ({"vit.encoder.layer.0.layer_scale1.lambda1": 64}, {}, "LayerScale"),
        ({"vit.encoder.layer.0.attention.attention.relative_position_bias.x": 4}, {}, "relative positions"),
        ({"vit.embeddings.register_tokens": 4}, {}, "register tokens"),
        ({"decoder.0.weight": 4}, {}, "decoder"),
        ({"vit.embeddings.detection_tokens": 4}, {}, "YOLOS"),
        ({"vit.extra.weight": 4}, {}, "without a place"),
        ({}, {"model_type": "dinov2"}, "model_type is 'dinov2'"),
        ({}, {"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({}, {"pooler_act": "relu"}, "pooler_act"),
        ({}, {"image_size": 64}, "64 pixels"),
        ({}, {"image_size": [32, 64]}, "image_size"),
        ({}, {"num_attention_heads": 5}, "num_heads"),
        ({}, {"layer_norm_eps": "small"}, "layer_norm_eps"),
        ({}, {"layer_norm_eps": 0}, "layer_norm_eps"),
        ({}, {"id2label": {"0": "a"}}, "1 class names for 3 outputs"),
    ],
)
def test_what_is_not_held_is_refused(
    extra: dict[str, int], told: dict[str, Any], message: str, open_vit: Callable[..., Any]
) -> None:
    state = keys.write(ViT(CONFIG).state_dict(), HF.keymap(CONFIG))
    state |= {key: torch.zeros(size) for key, size in extra.items()}
    with pytest.raises(CheckpointError, match=message):
        open_vit(state, config={"num_attention_heads": 4} | told)


def test_what_a_model_does_not_use_is_dropped(open_vit: Callable[..., Any]) -> None:
    state = keys.write(ViT(CONFIG).state_dict(), HF.keymap(CONFIG))
    state |= {"vit.pooler.dense.weight": torch.zeros(64, 64), "vit.pooler.dense.bias": torch.zeros(64)}
    state |= {"vit.embeddings.mask_token": torch.zeros(1, 1, 64)}
    _, found, _ = open_vit(state, config={"num_attention_heads": 4})
    assert "The pooler is left out: this model does not use it." in found.notes


@pytest.mark.parametrize(
    "wrong",
    [
        {"position": "2d"},
        {"class_token": False, "pool": "gap"},
        {"pool": "gap_norm"},
        {"pre_norm": True},
        {"patch_bias": False},
        {"stem": (8, 8, 8)},
        {"bit_stem": ()},
        {"representation_dim": 8},
    ],
)
def test_what_transformers_cannot_hold_is_not_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="transformers' ViT has no"):
        HF.checks(CONFIG.model_copy(update=wrong))


def test_companions_name_classes_nobody_named() -> None:
    spec = ImageSpec(size=32)
    written = HF.companions(CONFIG, Description(CONFIG, spec, "classification"))
    assert written["config.json"]["id2label"] == {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
    assert written["preprocessor_config.json"]["image_processor_type"] == "ViTImageProcessor"
