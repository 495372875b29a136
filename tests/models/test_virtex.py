import pytest
import torch
from pydantic import ValidationError

from limner.models.bert import Bert, BertConfig
from limner.models.resnet import ResNetConfig
from limner.models.towers import see
from limner.models.virtex import VARIANTS, VirTex, VirTexConfig, reversed_texts

TEXT = BertConfig(vocab_size=20, width=8, depth=2, num_heads=2, mlp_dim=16, memory_width=8, max_positions=9)
CONFIG = VirTexConfig(vision=ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=0), text=TEXT)
IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 3, 0, 0]])
MASK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


def test_texts_are_turned_and_their_padding_stays():
    assert reversed_texts(IDS, MASK).tolist() == [[3, 9, 8, 7, 2], [3, 11, 2, 0, 0]]


def test_the_decoders_are_two_berts_with_one_embedding():
    torch.manual_seed(0)
    model, pixels = VirTex(CONFIG).eval(), torch.randn(2, 3, 16, 16)
    read = model(pixels, IDS, MASK)
    grid = model.project(see(model.vision, pixels).tokens)
    alone = Bert(TEXT).eval()
    states = model.text.state_dict(), model.text.state_dict() | model.backward_text.state_dict()
    for state, logits, turned in zip(states, (read.forward, read.backward), (False, True), strict=True):
        alone.load_state_dict(state)
        for row, length in enumerate(MASK.sum(1).tolist()):
            ids = IDS[row, :length].flip(0) if turned else IDS[row, :length]
            tokens = alone(ids[None], memory=alone.memory(grid[row : row + 1]), causal=True)
            want = tokens @ alone.embeddings.words.weight.T + model.bias
            torch.testing.assert_close(logits[row, :length], want[0], rtol=1e-4, atol=1e-5)


def test_a_token_sees_nothing_that_comes_after_it():
    model, pixels = VirTex(CONFIG).eval(), torch.randn(1, 3, 16, 16)
    changed = IDS[:1].clone()
    changed[0, 3] = 15
    one, other = model(pixels, IDS[:1]), model(pixels, changed)
    torch.testing.assert_close(one.forward[:, :3], other.forward[:, :3])
    assert not torch.allclose(one.forward[:, 3], other.forward[:, 3])
    torch.testing.assert_close(one.backward[:, :1], other.backward[:, :1])
    assert not torch.allclose(one.backward[:, 1], other.backward[:, 1])


def test_one_way_has_no_second_decoder():
    model = VirTex(CONFIG.model_copy(update={"both_ways": False})).eval()
    read = model(torch.randn(2, 3, 16, 16), IDS)
    assert read.backward.shape == (2, 0, 20)
    assert model.backward_text is None


def test_widths_must_agree():
    with pytest.raises(ValidationError, match=r"text\.memory_width 4 is not text\.width 8"):
        VirTexConfig.model_validate(CONFIG.model_dump() | {"text": TEXT.model_dump() | {"memory_width": 4}})


def test_the_paper_s_decoders_have_its_sizes():
    """L = 1, H = 2048, A = 32, F = 8192."""
    text = VARIANTS["virtex_resnet50"].config.text
    assert (text.depth, text.width, text.num_heads, text.mlp_dim) == (1, 2048, 32, 8192)
    assert (text.vocab_size, text.max_positions, text.dropout) == (10_000, 30, 0.1)
