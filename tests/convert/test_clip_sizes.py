from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.convert.clip_keys import custom_text_keys, hf_keys, open_clip_keys
from limner.convert.clip_sizes import CUSTOM_TEXT, HF, OPENAI, assumed_heads, config_from, is_resnet, plain
from limner.convert.keymap import write
from limner.errors import CheckpointError
from limner.models import MODELS, build
from limner.models.clip_variants import VARIANTS

FILE = Path("file.pt")


def tensors(name: str, keys=open_clip_keys) -> dict[str, Tensor]:
    with torch.device("meta"):
        return write(build(name).state_dict(), keys(MODELS[name].config))


@pytest.mark.parametrize("name", [n for n in VARIANTS if "_e14" not in n and "bigg14_" not in n])
def test_shapes_and_activation_tell_every_published_size(name: str) -> None:
    """Heads of H, g and bigG among them, which no shape tells: they are known by width and depth."""
    found = MODELS[name].config
    style = plain(found.text.activation)
    assert config_from(tensors(name), OPENAI, style, FILE) == found
    assert assumed_heads(found, style) == ()


@pytest.mark.parametrize(("names", "keys"), [(CUSTOM_TEXT, custom_text_keys), (HF, hf_keys)])
def test_other_libraries_words_tell_the_same(names, keys) -> None:
    found = MODELS["clip_vit_b16"].config
    assert config_from(tensors("clip_vit_b16", keys), names, plain("quick_gelu"), FILE) == found


def test_heads_of_an_unpublished_size_are_a_note() -> None:
    found = config_from(tensors("clip_vit_b32"), OPENAI, plain("gelu"), FILE)
    odd = found.model_copy(update={"vision": found.vision.model_copy(update={"depth": 5})})
    assert "64 wide" in assumed_heads(odd, plain("gelu"))[0]
    assert assumed_heads(odd, plain("gelu")._replace(vision_heads=12)) == ()


def test_what_the_json_says_goes_before() -> None:
    style = plain("gelu")._replace(vision_heads=6, text_heads=4, image_size=230, text_eps=1e-6, eot_id=9)
    found = config_from(tensors("clip_vit_b32"), OPENAI, style, FILE)
    assert (found.vision.num_heads, found.text.num_heads) == (6, 4)
    assert (found.vision.image_size, found.text.layer_norm_eps, found.text.eot_id) == (230, 1e-6, 9)


def test_resnets_are_told_by_their_attention_pool() -> None:
    assert is_resnet(tensors("clip_rn50"))
    assert not is_resnet(tensors("clip_vit_b32"))


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("visual.conv1.weight", (768, 3, 32), r"visual\.conv1\.weight is not there"),
        ("visual.positional_embedding", (48, 768), r"48 rows|47 \+ 1 rows"),
        ("token_embedding.weight", None, r"token_embedding\.weight is not there"),
        ("transformer.resblocks.0.mlp.c_fc.weight", (0, 512), "is not there, or has no shape"),
        ("token_embedding.weight", (49408, 500), r"width by num_heads: 500"),
    ],
)
def test_tensors_that_tell_no_size_are_named(key: str, shape: tuple[int, ...] | None, message: str) -> None:
    state = tensors("clip_vit_b32")
    del state[key]
    if shape is not None:
        state[key] = torch.empty(shape, device="meta")
    with pytest.raises(CheckpointError, match=message):
        config_from(state, OPENAI, plain("gelu"), FILE)


def test_a_lost_block_in_the_middle_is_no_smaller_model() -> None:
    state = {k: t for k, t in tensors("clip_vit_b32").items() if not k.startswith("transformer.resblocks.5.")}
    with pytest.raises(CheckpointError, match=r"transformer\.resblocks\.0 …"):
        config_from(state, OPENAI, plain("gelu"), FILE)
