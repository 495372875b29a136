"""Files of BLIP's authors. The numbers of the models made of them are checked in tests/models."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.config import Config
from limner.convert.blip_salesforce import DIALECTS
from limner.convert.dialect import Description, Dialect, Weights
from limner.convert.keymap import leftovers, read, write
from limner.errors import CheckpointError
from limner.models import MODELS, build
from limner.models.bert import BertConfig
from limner.models.blip import BLIP, DECODER_OWN, BLIPConfig
from limner.models.blip_vqa import BLIPVQAConfig
from limner.models.vit import ViTConfig
from limner.shapes import ImageSpec

Released = Callable[[str], tuple[dict[str, Tensor], dict[str, Tensor]]]
TASKS = {
    "pretrain": ("blip", "pretraining"),
    "caption": ("blip", "captioning"),
    "retrieval": ("blip", "retrieval"),
    "vqa": ("blip_vqa", "vqa"),
    "nlvr2": ("blip_nlvr2", "nlvr2"),
}
BIAS = "text_decoder.cls.predictions.bias"
CROSS = "text_decoder.bert.encoder.layer.1.crossattention.self.key.weight"


def recognised(tensors: dict[str, Tensor], **sides: Any) -> tuple[Dialect, Weights]:
    weights = Weights(tensors, {}, sides, Path("blip.pth"), "", "torch")
    (dialect,) = (line for line in DIALECTS if line.recognises(weights))
    return dialect, weights


def opened(tensors: dict[str, Tensor]) -> tuple[nn.Module, Description, Dialect]:
    dialect, weights = recognised(tensors)
    found = dialect.describe(weights)
    model = build(found.config).eval()
    model.load_state_dict(read(tensors, dialect.keymap(found.config), "blip.pth"))
    return model, found, dialect


def small(sharing: str = "all_but_self_attention", **change: Any) -> BLIPConfig:
    vision = ViTConfig(image_size=48, patch_size=16, width=64, depth=2, num_heads=1, mlp_dim=80)
    text = BertConfig(
        vocab_size=128, width=128, depth=2, num_heads=2, mlp_dim=96, max_positions=20, memory_width=64
    )
    return BLIPConfig(vision=vision, text=text, sharing=sharing, dec_id=126, enc_id=127).model_copy(
        update=change
    )


@pytest.mark.parametrize("name", TASKS)
def test_a_released_file_is_told_by_its_keys_and_shapes(name: str, released_blip: Released) -> None:
    tensors, _ = released_blip(name)
    dialect, weights = recognised(tensors)
    found = dialect.describe(weights)
    assert (dialect.architecture, found.task) == TASKS[name]
    assert (found.tokenizer, found.notes) == ("bert", ())
    assert found.image_spec == ImageSpec(size=48)
    config = found.config
    assert (config.vision.image_size, config.vision.depth, config.vision.num_heads) == (48, 2, 3)
    assert (config.text.num_heads, config.text.max_positions, config.text.memory_width) == (2, 24, 192)
    assert (config.dec_id, config.enc_id) == (126, 127)


@pytest.mark.parametrize("name", TASKS)
def test_a_released_file_comes_back_bit_by_bit(name: str, released_blip: Released) -> None:
    tensors, _ = released_blip(name)
    model, found, dialect = opened(tensors)
    back = write(model.state_dict(), dialect.keymap(found.config))
    kept = {key for key in tensors if not re.search(r"_m\.|queue", key)}
    assert back.keys() == kept
    assert all(torch.equal(back[key], tensors[key]) and back[key].dtype == tensors[key].dtype for key in kept)


def test_an_itm_file_lacks_the_temperature(released_blip: Released) -> None:
    tensors = {
        key: value
        for key, value in released_blip("retrieval")[0].items()
        if key != "temp" and not re.search(r"_m\.|queue", key)
    }
    model, found, _ = opened(tensors)
    assert found.task == "retrieval"
    assert model.temperature.item() == pytest.approx(0.07)


@pytest.mark.parametrize("sharing", DECODER_OWN)
def test_sharing_is_told_by_what_is_equal(sharing: str, stirred: Callable[[nn.Module], Any]) -> None:
    model = stirred(BLIP(small(sharing)))
    table = DIALECTS[0].keymap(model.config)
    theirs = write(model.state_dict(), table)
    again, found, _ = opened(theirs)
    assert found.config.sharing == sharing
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())


def test_a_fresh_model_comes_back(stirred: Callable[[nn.Module], Any]) -> None:
    model = BLIP(small("none"))  # its biases are zero in both towers, which says nothing of sharing
    assert opened(write(model.state_dict(), DIALECTS[0].keymap(model.config)))[1].config.sharing == "none"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (CROSS, "crossattention.self.key.weight is not text_decoder"),
        (CROSS.replace("weight", "bias"), "crossattention.self.key.bias .* is not text_encoder"),
        ("text_decoder.cls.predictions.decoder.weight", "decoder.weight .* is not text_encoder.embeddings"),
        (BIAS, "predictions.bias .* is not text_decoder.cls.predictions.decoder.bias"),
    ],
)
def test_shared_tensors_that_differ_are_refused(key: str, message: str, released_blip: Released) -> None:
    tensors, _ = released_blip("pretrain")
    tensors[key] = tensors[key] + 1e-3
    with pytest.raises(CheckpointError, match=message):
        opened(tensors)


def test_a_sharing_of_no_table_is_refused(released_blip: Released) -> None:
    tensors, _ = released_blip("pretrain")
    for key in tensors:
        if key.startswith("text_decoder.bert.") and re.search(
            r"layer\.\d\.(intermediate|output)\.dense", key
        ):
            tensors[key] = tensors[key] + 1e-3
    with pytest.raises(CheckpointError, match="encoder and decoder differ in self_attention, mlp"):
        opened(tensors)


def test_the_bias_of_the_vocabulary_before_is_told_and_left(released_blip: Released) -> None:
    tensors, _ = released_blip("pretrain")
    tensors[BIAS] = tensors[BIAS][:-2] + 1  # as `resize_token_embeddings` left it in pre-training
    model, found, _ = opened(tensors)
    assert torch.equal(model.lm_head.bias, tensors["text_decoder.cls.predictions.decoder.bias"])
    assert "another vocabulary" in found.notes[0]


def test_missing_and_unknown_keys_are_refused(released_blip: Released) -> None:
    tensors, _ = released_blip("caption")
    dialect, weights = recognised(tensors)
    table = dialect.keymap(dialect.describe(weights).config)
    gone = "text_decoder.bert.encoder.layer.1.output.dense.bias"
    tensors["visual_encoder.blocks.1.gamma"] = tensors.pop(gone)
    assert leftovers(tensors, table) == ([gone], ["visual_encoder.blocks.1.gamma"])


def test_towers_alone_are_refused(released_blip: Released) -> None:
    tensors, _ = released_blip("retrieval")
    towers = {
        key: value
        for key, value in tensors.items()
        if key.split(".")[0] in ("visual_encoder", "text_encoder")
    }
    with pytest.raises(CheckpointError, match=r"a BLIP with the heads \[\]"):
        opened(towers)


def test_a_width_of_no_whole_heads_is_refused(stirred: Callable[[nn.Module], Any]) -> None:
    config = small(text=small().text.model_copy(update={"width": 96, "num_heads": 2}))
    theirs = write(BLIP(config).state_dict(), DIALECTS[0].keymap(config))
    with pytest.raises(CheckpointError, match="the text width is 96"):
        opened(theirs)


def test_an_untrained_size_of_picture_is_kept() -> None:
    config = small(vision=small().vision.model_copy(update={"image_size": 80}))
    found = opened(write(BLIP(config).state_dict(), DIALECTS[0].keymap(config)))[1]
    assert (found.config.vision.image_size, found.image_spec.size) == (80, 80)


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("blip_")])
def test_released_models_are_found_by_their_shapes(name: str) -> None:
    config = MODELS[name].config
    dialect = next(line for line in DIALECTS if type(config) is type(_example(line)))
    dialect.checks(config)
    with torch.device("meta"):
        state = build(config).state_dict()
    theirs = write(state, dialect.keymap(config))
    if name in ("blip_base", "blip_large"):  # nothing to compare on the meta device
        theirs = {key: torch.zeros(()).expand(value.shape) for key, value in theirs.items()}
        theirs |= {
            key: 1 + value
            for key, value in theirs.items()
            if "text_decoder.bert" in key and ".attention." in key
        }
    found, weights = recognised(theirs)
    assert found is dialect
    assert found.describe(weights).config == config


def _example(dialect: Dialect) -> Config:
    name = {"blip": "blip_base", "blip_vqa": "blip_base_vqa", "blip_nlvr2": "blip_base_nlvr2"}
    return MODELS[name[dialect.architecture]].config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": ("itm",)}, r"heads \['itm'\]"),
        ({"num_classes": 3}, "num_classes 3"),
        ({"cls_id": 5}, "pad_id, cls_id, sep_id"),
        ({"dec_id": 9}, "dec_id, enc_id"),
        ({"text": small().text.model_copy(update={"num_heads": 4})}, "text.num_heads: 256 heads of 64"),
        ({"vision": small().vision.model_copy(update={"num_heads": 2})}, "vision.num_heads"),
        ({"vision": small().vision.model_copy(update={"pre_norm": True})}, "vision.pre_norm"),
    ],
)
def test_what_the_files_cannot_say_is_refused(change: dict[str, Any], message: str) -> None:
    DIALECTS[0].checks(small())
    with pytest.raises(CheckpointError, match=message):
        DIALECTS[0].checks(small(**change))


def test_limner_tiny_is_refused_by_its_stem() -> None:
    with pytest.raises(CheckpointError, match=r"vision\.stem"):
        DIALECTS[0].checks(MODELS["limner_tiny"].config)


def test_nothing_is_written_beside_the_weights() -> None:
    config = BLIPVQAConfig(vision=small().vision, text=small().text, dec_id=126, enc_id=127)
    description = Description(config, ImageSpec(size=48), "vqa")
    assert all(dialect.companions(config, description) == {} for dialect in DIALECTS)
