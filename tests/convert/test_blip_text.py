import pytest
import torch

from limner.convert.blip_text import (
    expect_twins,
    layers,
    lm_head,
    refuse_other_text,
    refuse_other_vision,
    shape,
    shared,
    text_sizes,
    tower,
    twin_cross_attention,
    vision_sizes,
)
from limner.convert.keymap import KeyMap, fused, leftovers, read, same, write
from limner.errors import CheckpointError
from limner.models.bert import Bert, BertConfig
from limner.models.blip import LMHead
from limner.models.blip_nlvr2 import BLIPNLVR2, BLIPNLVR2Config
from limner.models.vit import ViTConfig

TEXT = BertConfig(vocab_size=40, width=32, depth=3, num_heads=2, mlp_dim=24, max_positions=9, memory_width=16)
VISION = ViTConfig(image_size=32, patch_size=8, width=16, depth=2, num_heads=2, mlp_dim=24)


def test_tower_names_every_tensor_of_a_bert() -> None:
    bert = Bert(TEXT)
    state = bert.state_dict()
    table = KeyMap(tuple(tower(TEXT.depth)))
    theirs = write(state, table)
    assert leftovers(theirs, table) == ([], [])
    assert theirs["encoder.layer.2.crossattention.self.value.weight"].shape == (32, 16)
    assert all(torch.equal(value, state[key]) for key, value in read(theirs, table, "file").items())
    assert text_sizes(theirs, "", "crossattention.self.key.weight") == {
        **TEXT.model_dump(include=set(text_sizes(theirs, "", "crossattention.self.key.weight"))),
        "num_heads": 1,  # 64 wide
    }


def test_parts_of_a_tower_are_apart() -> None:
    whole = {line.ours for line in tower(2)}
    apart = [{line.ours for line in tower(2, (part,))} for part in ("embeddings", "self_attention")]
    assert {key.split(".")[0] for key in apart[0]} == {"embeddings"}
    assert {key.split(".")[0] for key in apart[1]} == {"self_attention"}
    assert apart[0] | apart[1] < whole


def test_twins_name_every_tensor_of_two_cross_attentions() -> None:
    config = BLIPNLVR2Config(vision=VISION, text=TEXT, cls_id=2, sep_id=3, dec_id=5, enc_id=6)
    state = {
        key: value
        for key, value in BLIPNLVR2(config).text_encoder.state_dict().items()
        if key.startswith("cross_attention")
    }
    assert {line.ours for line in twin_cross_attention(3, config.average_layers)} == state.keys()


def test_prediction_head() -> None:
    ours = {line.ours for line in lm_head("cls.predictions")}
    assert ours == {f"lm_head.{key}" for key in LMHead(TEXT).state_dict()} - {"lm_head.bias"}


def test_shared_tensors_are_written_under_all_names_and_must_agree() -> None:
    line = shared(fused("qkv", ("q", "k")), ("q2", "k2", "q3", "k3"))
    theirs = write({"qkv": torch.arange(6.0)}, KeyMap((line,)))
    assert torch.equal(theirs["k3"], torch.tensor([3.0, 4.0, 5.0]))
    assert theirs["k3"].data_ptr() != theirs["k"].data_ptr()  # safetensors refuses tensors that share memory
    assert torch.equal(read(theirs, KeyMap((line,)), "file")["qkv"], torch.arange(6.0))
    theirs["k2"][0] += 1
    with pytest.raises(CheckpointError, match=r"k2 \(3,\) is not k \(3,\)"):
        read(theirs, KeyMap((line,)), "file")


def test_twins_of_other_shapes_are_not_equal() -> None:
    with pytest.raises(CheckpointError, match="equal tensors"):
        expect_twins("a", torch.ones(2), "b", torch.ones(3))
    assert shared(same("a", "b"), ()).theirs == ("b",)


def test_layers_are_counted_once() -> None:
    keys = dict.fromkeys(("x.0.a", "x.0.b", "x.11.a", "y.3"), torch.ones(1))
    assert layers(keys, "x.") == 2


def test_what_is_missing_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"no a\.weight in this file"):
        shape({}, "a.weight")


def test_positions_that_are_no_square_are_refused() -> None:
    tensors = {"patches": torch.empty(8, 3, 4, 4), "positions": torch.empty(1, 8, 8)}
    with pytest.raises(CheckpointError, match="7 patches"):
        vision_sizes(tensors, "patches", "positions", "blocks.", "fc1")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"stem": (8, 16)}, "vision.stem"),
        ({"pre_norm": True}, "vision.pre_norm"),
        ({"activation": "quick_gelu"}, "vision.activation"),
        ({"layer_norm_eps": 1e-5}, "vision.layer_norm_eps"),
        ({"num_classes": 4}, "vision.num_classes"),
        ({"image_size": 36}, "image_size 36 is no multiple"),
    ],
)
def test_an_image_encoder_that_is_no_plain_vit_is_refused(change: dict, named: str) -> None:
    refuse_other_vision(VISION.model_copy(update={"drop_path": 0.3}), "salesforce")
    with pytest.raises(CheckpointError, match=named):
        refuse_other_vision(VISION.model_copy(update=change), "salesforce")
    if "layer_norm_eps" in change:
        refuse_other_vision(VISION.model_copy(update=change), "transformers", free=("layer_norm_eps",))


def test_other_layer_norms_of_the_text_are_refused() -> None:
    refuse_other_text(TEXT, "salesforce")
    with pytest.raises(CheckpointError, match=r"text.layer_norm_eps is 1e-05"):
        refuse_other_text(TEXT.model_copy(update={"layer_norm_eps": 1e-5}), "salesforce")
