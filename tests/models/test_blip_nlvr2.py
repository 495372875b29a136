from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from limner.errors import ConfigError, ShapeError
from limner.models.blip import BLIP
from limner.models.blip_nlvr2 import BLIPNLVR2, BLIPNLVR2Config, nlvr2_from

MakeBLIP = Callable[..., BLIP]
Released = Callable[[str], tuple[BLIPNLVR2, SimpleNamespace]]


@pytest.fixture
def model(small_blip: MakeBLIP) -> BLIPNLVR2:
    """A small judge of depth 2: the first layer averages, the second merges."""
    return nlvr2_from(small_blip())


@pytest.fixture
def stated() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Left and right pictures, statements and their mask."""
    ids = torch.randint(7, 40, (3, 6))
    mask = torch.arange(6) < torch.tensor([[6], [4], [5]])
    return torch.randn(3, 3, 32, 32), torch.randn(3, 3, 32, 32), ids * mask, mask


def test_numbers_are_those_of_the_released_code(released_model: Released) -> None:
    model, told = released_model("nlvr2")
    with torch.no_grad():
        logits = model(told.pixels, told.right, told.ids, told.mask).logits
        swapped = model(told.right, told.pixels, told.ids, told.mask).logits
    torch.testing.assert_close(logits, told.logits, atol=1e-5, rtol=1e-5)
    assert (swapped - told.logits).abs().min() > 1e-4  # left and right are not the same


def test_trap_56_left_stays_left_whatever_the_seed(
    model: BLIPNLVR2, stated: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    """The released data set draws which picture is the left one, at evaluation too."""
    told = []
    for seed in range(8):
        torch.manual_seed(seed)
        with torch.no_grad():
            told.append(model(*stated).logits)
    assert all(torch.equal(logits, told[0]) for logits in told)


def test_the_upper_half_merges(model: BLIPNLVR2, small_blip: MakeBLIP) -> None:
    twins = model.text_encoder.cross_attention
    assert [twin.merge is not None for twin in twins] == [False, True]
    config = BLIPNLVR2Config.model_validate(model.config.model_dump() | {"merge_from": 0})
    assert all(twin.merge is not None for twin in BLIPNLVR2(config).text_encoder.cross_attention)


def test_the_same_picture_twice_reads_like_one_where_layers_average(
    small_blip: MakeBLIP, stated: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    blip = small_blip()
    twin, one = nlvr2_from(blip).text_encoder.cross_attention[0], blip.text_encoder.cross_attention[0]
    with torch.no_grad():
        tokens, x = blip.encode_image(stated[0]), torch.randn(3, 6, 32)
        torch.testing.assert_close(twin(x, twin.kv(tokens, tokens)), one(x, one.kv(tokens)))


def test_rows_do_not_see_each_other(model: BLIPNLVR2, stated: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    with torch.no_grad():
        together = model(*stated).logits
        for row, length in enumerate(stated[3].sum(1).tolist()):
            alone = [part[row : row + 1] for part in stated]
            logits = model(alone[0], alone[1], alone[2][:, :length], alone[3][:, :length]).logits
            torch.testing.assert_close(logits, together[row : row + 1], atol=1e-5, rtol=1e-4)


def test_statements_of_one_pair_stand_next_to_each_other(
    model: BLIPNLVR2, stated: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    left, right, ids, mask = stated
    with torch.no_grad():
        memory = model.memory(model.encode_image(left[:1]), model.encode_image(right[:1]))
        shared = model.judge(memory, ids, mask)
        repeated = model(left[:1].expand(3, -1, -1, -1), right[:1].expand(3, -1, -1, -1), ids, mask).logits
    torch.testing.assert_close(shared, repeated, atol=1e-5, rtol=1e-4)


def test_token_0_is_replaced(model: BLIPNLVR2, stated: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    left, right, ids, mask = stated
    other = ids.clone()
    other[:, 0] = 2
    assert torch.equal(model(left, right, ids, mask).logits, model(left, right, other, mask).logits)


def test_nlvr2_from_takes_everything_the_text_encoder_has(small_blip: MakeBLIP) -> None:
    blip = small_blip()
    made = nlvr2_from(blip)
    for old, new in zip(blip.text_encoder.cross_attention, made.text_encoder.cross_attention, strict=True):
        for side in ("0", "1"):
            for name in ("query", "kv", "out"):
                assert torch.equal(getattr(old, name).weight, getattr(new, name + side).weight)
        assert torch.equal(old.norm.bias, new.norm.bias)
    ids = torch.randint(7, 40, (2, 5))
    assert torch.equal(made.text_encoder(ids), blip.text_encoder(ids))
    assert torch.equal(made.vision.pos_embed, blip.vision.pos_embed)


def test_one_sided_pairs_are_refused(model: BLIPNLVR2, stated: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    tokens = model.encode_image(stated[0])
    with pytest.raises(ShapeError, match="3 left and 2 right"):
        model.memory(tokens, tokens[:2])


def test_nlvr2_from_needs_the_matching_head(small_blip: MakeBLIP) -> None:
    with pytest.raises(ConfigError, match="nlvr2_from with a BLIP whose heads are: lm"):
        nlvr2_from(small_blip(heads=("lm",)))
