import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from limner.models import packed
from limner.models.blip import BLIP
from limner.models.blip_vqa import BLIPVQA
from limner.models.packed import Decoder, PackedLinear, decoder_of, packs

MakeBLIP = Callable[..., BLIP]


def logits(decoder: Decoder, model: BLIP | BLIPVQA, ids: Tensor) -> Tensor:
    memory = model.text_decoder.memory(torch.ones(2, 5, 32))
    return decoder.score(decoder.tower(ids, memory=memory, causal=True))


def plain(model: BLIP | BLIPVQA) -> Decoder:
    return Decoder(model.text_decoder, model.write)


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_a_packed_layer_is_the_layer(rows: int) -> None:
    layer, x = torch.nn.Linear(48, 33), torch.randn(rows, 2, 48)
    with torch.no_grad():
        torch.testing.assert_close(PackedLinear(layer.weight, layer.bias)(x), layer(x))


@torch.no_grad()
@pytest.mark.parametrize("sharing", ["all", "all_but_self_attention", "none"])
def test_a_packed_decoder_scores_as_the_model_does(small_blip: MakeBLIP, sharing: str) -> None:
    model, ids = small_blip(sharing), torch.randint(0, 40, (4, 6))
    assert isinstance(decoder_of(model).tower.mlp[0].fc1, PackedLinear)
    assert not isinstance(model.text_decoder.mlp[0].fc1, PackedLinear)
    torch.testing.assert_close(logits(decoder_of(model), model, ids), logits(plain(model), model, ids))


@torch.no_grad()
def test_a_question_answerer_is_packed_too(small_vqa: BLIPVQA) -> None:
    ids = torch.randint(0, 40, (4, 6))
    found, want = logits(decoder_of(small_vqa), small_vqa, ids), logits(plain(small_vqa), small_vqa, ids)
    torch.testing.assert_close(found, want)


@torch.no_grad()
def test_packed_once_and_again_when_weights_change(small_blip: MakeBLIP) -> None:
    model, ids = small_blip(), torch.randint(0, 40, (4, 6))
    first = decoder_of(model)
    assert decoder_of(model) is first
    changes = [
        lambda: model.text_decoder.mlp[1].fc2.weight[3, 5].add_(1.0),
        lambda: model.text_decoder.self_attention[0].qkv.weight.data.mul_(1.1),
        lambda: model.lm_head.bias.data.add_(0.1),
        lambda: model.load_state_dict({key: value * 1.01 for key, value in model.state_dict().items()}),
    ]
    for change in changes:
        change()
        assert decoder_of(model) is not first
        first = decoder_of(model)
        torch.testing.assert_close(logits(first, model, ids), logits(plain(model), model, ids))


def test_a_model_that_learns_or_is_no_fp32_is_not_packed(small_blip: MakeBLIP) -> None:
    model = small_blip()
    assert not packs(model)  # gradients are on
    with torch.no_grad():
        assert packs(model)
        with torch.autocast("cpu", torch.bfloat16):
            assert not packs(model)
        assert not packs(model.train())
        assert not packs(model.eval().to(torch.bfloat16))
        assert decoder_of(model).tower is model.text_decoder


@torch.no_grad()
def test_what_is_packed_goes_with_its_model(small_blip: MakeBLIP) -> None:
    model = small_blip()
    tower = weakref.ref(decoder_of(model).tower)
    assert len(packed._KEPT) > 0
    del model
    gc.collect()
    assert tower() is None
