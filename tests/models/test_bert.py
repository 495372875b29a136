import pytest
import torch
from pydantic import ValidationError

from limner.errors import ShapeError
from limner.models.bert import PARTS, Bert, BertConfig, SelfCache

CONFIG = BertConfig(
    vocab_size=30, width=16, depth=3, num_heads=2, mlp_dim=24, max_positions=10, memory_width=12, init_std=0.3
)


@pytest.fixture
def bert() -> Bert:
    return Bert(CONFIG).eval()


def ids(rows: int, tokens: int) -> torch.Tensor:
    return torch.randint(1, 30, (rows, tokens))


def test_padding_changes_nothing(bert: Bert) -> None:
    text, memory = ids(2, 5), bert.memory(torch.randn(2, 4, 12))
    padded = torch.cat([text, torch.zeros(2, 3, dtype=torch.int64)], 1)
    mask = padded > 0
    for causal in (False, True):
        short = bert(text, None, memory, causal=causal)
        torch.testing.assert_close(bert(padded, mask, memory, causal=causal)[:, :5], short)
    torch.testing.assert_close(bert(padded, None, memory, causal=True)[:, :5], short)


def test_a_causal_token_sees_only_what_came_before(bert: Bert) -> None:
    text = ids(1, 6)
    changed = text.clone()
    changed[0, 3] = text[0, 3] % 29 + 1
    causal = (bert(text, causal=True) != bert(changed, causal=True)).any(-1)[0]
    free = (bert(text) != bert(changed)).any(-1)[0]
    assert causal.tolist() == [False] * 3 + [True] * 3
    assert free.all()


def test_first_is_the_first_of_forward(bert: Bert) -> None:
    text, memory = ids(3, 6), bert.memory(torch.randn(3, 4, 12))
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    for picture in (None, memory):
        torch.testing.assert_close(bert.first(text, mask, picture), bert(text, mask, picture)[:, 0])


@pytest.mark.parametrize("pieces", [[1] * 7, [3, 1, 3], [4, 3]])
def test_reading_in_pieces_through_the_cache(bert: Bert, pieces: list[int]) -> None:
    text, memory = ids(2, 7), bert.memory(torch.randn(2, 4, 12))
    cache = SelfCache(CONFIG, 2, 7, text.new_empty(0, dtype=torch.float32))
    read = [bert(piece, memory=memory, causal=True, cache=cache) for piece in text.split(pieces, 1)]
    torch.testing.assert_close(torch.cat(read, 1), bert(text, memory=memory, causal=True))


def test_cache_keeps_the_rows_asked_for(bert: Bert) -> None:
    text = ids(3, 5)
    cache = SelfCache(CONFIG, 3, 5, text.new_empty(0, dtype=torch.float32))
    bert(text[:, :4], causal=True, cache=cache)
    kept = torch.tensor([2, 0])
    cache.select(kept)
    last = bert(text[kept, 4:], causal=True, cache=cache)
    torch.testing.assert_close(last, bert(text[kept], causal=True)[:, 4:])


def test_texts_of_one_picture_share_its_memory(bert: Bert) -> None:
    text, memory = ids(6, 4), bert.memory(torch.randn(2, 5, 12))
    repeated = memory.rows(torch.tensor([0, 0, 0, 1, 1, 1]))
    torch.testing.assert_close(bert(text, memory=memory), bert(text, memory=repeated))
    torch.testing.assert_close(bert.first(text, memory=memory), bert.first(text, memory=repeated))


@pytest.mark.parametrize("texts", [1, 3])
def test_masked_memory_is_not_read(bert: Bert, texts: int) -> None:
    text, tokens = ids(2 * texts, 4), torch.randn(2, 5, 12)
    mask = torch.arange(5) < torch.tensor([[3], [5]])
    memory = bert.memory(tokens, mask)
    changed = bert.memory(torch.where(mask[:, :, None], tokens, 9.0), mask)
    assert torch.equal(bert(text, memory=memory), bert(text, memory=changed))
    alone = bert(text[:texts], memory=bert.memory(tokens[:1, :3]))
    torch.testing.assert_close(bert(text, memory=memory)[:texts], alone)
    swapped = memory.rows(torch.tensor([1, 0]))
    torch.testing.assert_close(bert(text.roll(texts, 0), memory=swapped)[texts:], alone)


def test_memory_rows_reorder_pictures(bert: Bert) -> None:
    tokens, order = torch.randn(3, 5, 12), torch.tensor([2, 2, 0, 1])
    for ours, theirs in zip(
        bert.memory(tokens).rows(order).layers, bert.memory(tokens[order]).layers, strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("own", [(), ("self_attention",), ("cross_attention", "mlp"), PARTS])
def test_twin_owns_only_its_parts(own: tuple[str, ...]) -> None:
    bert = Bert(CONFIG)
    twin = Bert(CONFIG, twin=bert, own=own)
    assert {name.split(".")[0] for name in twin.state_dict()} == set(own)
    for part in PARTS:
        assert (getattr(twin, part) is getattr(bert, part)) == (part not in own)


def test_a_shared_part_keeps_the_weights_of_its_owner() -> None:
    torch.manual_seed(3)
    alone = Bert(CONFIG).state_dict()
    torch.manual_seed(3)
    bert = Bert(CONFIG)
    Bert(CONFIG, twin=bert, own=("self_attention",))
    assert all(torch.equal(alone[name], value) for name, value in bert.state_dict().items())


def test_pictures_that_do_not_fit_are_refused(bert: Bert) -> None:
    memory = bert.memory(torch.randn(2, 4, 12))
    with pytest.raises(ShapeError, match="3 texts and 2 pictures"):
        bert(ids(3, 4), memory=memory)


def test_a_text_that_is_too_long_is_refused(bert: Bert) -> None:
    with pytest.raises(ShapeError, match="11 tokens"):
        bert(ids(1, 11))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValidationError, match="num_heads 3"):
        BertConfig.model_validate(CONFIG.model_dump() | {"num_heads": 3})
