import re

import pytest
import torch

from limner.convert.clip_keys import (
    INTEGERS,
    custom_text_keys,
    hf_keys,
    open_clip_keys,
    openai_keys,
    stores_half,
)
from limner.convert.keymap import read, write
from limner.errors import CheckpointError
from limner.models import MODELS, build
from limner.models.clip import CLIPConfig


def state(name: str) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return build(name).state_dict()


def config(name: str) -> CLIPConfig:
    found = MODELS[name].config
    assert isinstance(found, CLIPConfig)
    return found


@pytest.mark.parametrize("name", ["clip_rn50", "clip_vit_b32"])
@pytest.mark.parametrize("keys", [openai_keys, open_clip_keys, custom_text_keys])
def test_every_tensor_has_one_place_in_openais_words(name: str, keys) -> None:
    keymap = keys(config(name))
    assert sorted(line.ours for line in keymap.lines) == sorted(state(name))
    theirs = [key for line in keymap.lines for key in line.theirs]
    assert len(theirs) == len(set(theirs))


def test_openais_tensors_of_a_vit_are_the_published_ones() -> None:
    """Trap 38: a patch projection without bias, a norm before and after, projections the other way round."""
    theirs = {
        key: tuple(t.shape)
        for key, t in write(state("clip_vit_b32"), openai_keys(config("clip_vit_b32"))).items()
    }
    assert len(theirs) == 302 + len(INTEGERS)
    assert {key for key in theirs if "conv1" in key} == {"visual.conv1.weight"}
    assert {"visual.ln_pre.weight", "visual.ln_post.bias"} <= theirs.keys()
    assert theirs["visual.proj"] == (768, 512)
    assert theirs["text_projection"] == (512, 512)
    assert theirs["visual.class_embedding"] == (768,)
    assert theirs["visual.positional_embedding"] == (50, 768)
    assert theirs["transformer.resblocks.11.attn.in_proj_weight"] == (1536, 512)


def test_the_text_tower_of_the_other_class_stands_under_text() -> None:
    theirs = write(state("clip_vit_b32"), custom_text_keys(config("clip_vit_b32")))
    others = {key for key in theirs if not key.startswith(("visual.", "text."))}
    assert others == {"logit_scale"}
    assert "text.token_embedding.weight" in theirs


def test_transformers_split_q_k_and_v() -> None:
    keymap = hf_keys(config("clip_vit_b32"))
    line = next(line for line in keymap.lines if line.ours == "vision.blocks.3.attn.qkv.weight")
    parts = [torch.full((2, 2), float(i)) for i in range(3)]
    assert [key.split(".")[-2] for key in line.theirs] == ["q_proj", "k_proj", "v_proj"]
    assert line.read(parts)[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert all(torch.equal(a, b) for a, b in zip(line.write(line.read(parts)), parts, strict=True))


def test_counters_of_batch_norm_may_lack_and_weights_may_not() -> None:
    keymap = openai_keys(config("clip_rn50"))
    theirs = write(state("clip_rn50"), keymap)
    lean = {key: t for key, t in theirs.items() if "num_batches_tracked" not in key}
    assert read(lean, keymap, "file").keys() == state("clip_rn50").keys()
    del lean["visual.layer1.0.bn3.running_var"]
    with pytest.raises(CheckpointError, match=r"visual\.layer1\.0\.bn3\.running_var"):
        read(lean, keymap, "file")


def test_a_scale_of_one_number_is_a_scalar_and_of_two_is_nothing() -> None:
    line = next(
        line for line in open_clip_keys(config("clip_vit_b32")).lines if line.ours == "log_logit_scale"
    )
    assert line.read([torch.ones(1)]).shape == ()
    assert line.read([torch.ones(2)]).shape == (2,)


def test_half_precision_is_for_matrices_alone() -> None:
    """Trap 35; the whole table is compared with open_clip's in test_clip."""
    halves = {
        "visual.conv1.weight",
        "visual.layer2.3.conv2.weight",
        "visual.attnpool.k_proj.bias",
        "visual.proj",
    }
    halves |= {"transformer.resblocks.0.attn.in_proj_bias", "visual.transformer.resblocks.9.mlp.c_fc.weight"}
    full = {
        "visual.bn1.weight",
        "visual.layer2.0.downsample.1.weight",
        "visual.attnpool.positional_embedding",
    }
    full |= {"token_embedding.weight", "positional_embedding", "ln_final.weight", "logit_scale"}
    full |= {"visual.class_embedding", "transformer.resblocks.0.ln_1.weight", *INTEGERS}
    assert all(map(stores_half, halves))
    assert not any(map(stores_half, full))


def test_masks_of_traced_blocks_hold_nothing_of_the_model():
    masks = ["attn_mask", "transformer.resblocks.0.attn_mask", "transformer.resblocks.11.attn_mask"]
    drop = open_clip_keys(MODELS["clip_vit_b32"].config).droppable
    assert all(any(re.fullmatch(pattern, mask) for pattern in drop) for mask in masks)
    drop = openai_keys(MODELS["clip_vit_b32"].config).droppable
    assert all(any(re.fullmatch(pattern, mask) for pattern in drop) for mask in masks)
