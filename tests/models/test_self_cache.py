import torch

from limner.models.bert import Bert, BertConfig
from limner.models.self_cache import SelfCache, StaticCache

CONFIG = BertConfig(
    vocab_size=40, width=32, depth=2, num_heads=2, mlp_dim=48, max_positions=24, memory_width=32
)


def filled(kind: type[SelfCache]) -> SelfCache:
    cache = kind(CONFIG, 3, 5, torch.empty(0))
    for layer in range(CONFIG.depth):
        cache.append(layer, torch.randn(3, 2, 4, 16), torch.randn(3, 2, 4, 16))
    cache.length += 4
    return cache


def test_rows_are_taken_in_the_order_asked() -> None:
    for kind, index in ((SelfCache, [2, 0]), (StaticCache, [2, 0, 0])):
        cache = filled(kind)
        keys, values = cache.keys.clone(), cache.values.clone()
        cache.select(torch.tensor(index))
        assert torch.equal(cache.keys[..., :4, :], keys[:, index][..., :4, :])
        assert torch.equal(cache.values[..., :4, :], values[:, index][..., :4, :])


def test_a_static_cache_keeps_its_place_in_memory_and_its_shapes() -> None:
    cache = filled(StaticCache)
    place = cache.keys.data_ptr()
    cache.select(torch.tensor([1, 1, 0]))
    keys, values = cache.append(0, torch.randn(3, 2, 1, 16), torch.randn(3, 2, 1, 16))
    assert cache.keys.data_ptr() == place
    assert keys.shape == values.shape == (3, 2, 5, 16)
    assert cache.visible(1).tolist() == [[[[True] * 5]]]


def test_step_by_step_through_a_static_cache_is_the_whole_text_at_once() -> None:
    tower, ids = Bert(CONFIG).eval(), torch.randint(0, 40, (3, 7))
    with torch.no_grad():
        memory = tower.memory(torch.randn(3, 5, 32))
        whole = tower(ids, memory=memory, causal=True)
        cache = StaticCache(CONFIG, 3, 9, whole)
        parts = [
            tower(ids[:, begin:end], memory=memory, causal=True, cache=cache)
            for begin, end in ((0, 3), (3, 4), (4, 6), (6, 7))
        ]
    torch.testing.assert_close(torch.cat(parts, 1), whole)
