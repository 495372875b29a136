"""The second look against the model's own forward pass."""

import pytest
import torch

from limner.checkpoint import Bundle
from limner.data.intake import decode
from limner.data.table import Table
from limner.data.transforms import normalise, to_u8
from limner.models.blip import BLIP
from limner.search.index import Hit, search
from limner.search.rerank import rerank

TEXT = "two fish left of an owl"


def _logits(bundle: Bundle, data: bytes) -> list[float]:
    assert isinstance(bundle.model, BLIP)
    assert bundle.tokenizer is not None
    u8 = torch.from_numpy(to_u8(decode(data), bundle.image_spec)).permute(2, 0, 1)[None]
    with torch.no_grad():
        out = bundle.model(normalise(u8, bundle.image_spec), *bundle.tokenizer.encode_batch([TEXT]))
    logits: list[float] = out.match_logits[0].tolist()
    return logits


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_order_is_matching_plus_cosine(table: Table, bundle: Bundle, batch_size: int) -> None:
    hits = search(table, bundle, TEXT, k=12)
    ranked = rerank(bundle, TEXT, hits, batch_size=batch_size)
    scores = {hit.key: _logits(bundle, hit.image)[1] + hit.cosine for hit in hits}
    assert [hit.key for hit in ranked] == sorted(scores, key=lambda key: -scores[key])
    assert [hit.key for hit in ranked] != [hit.key for hit in hits]


def test_it_adds_the_probability_and_nothing_else(table: Table, bundle: Bundle) -> None:
    hits = {hit.key: hit for hit in search(table, bundle, TEXT)}
    for hit in rerank(bundle, TEXT, list(hits.values())):
        assert hit.matched == pytest.approx(
            torch.tensor(_logits(bundle, hit.image)).softmax(0)[1].item(), abs=1e-5
        )
        assert hit._replace(matched=None) == hits[hit.key]


def test_a_picture_that_broke_since_comes_last(table: Table, bundle: Bundle) -> None:
    hits = search(table, bundle, TEXT, k=3)
    broken = Hit("broken", None, [], b"\x89PNG\r\n", 1.0)
    ranked = rerank(bundle, TEXT, [broken, *hits])
    assert [hit.key for hit in ranked][-1] == "broken"
    assert ranked[-1].matched is None
    assert rerank(bundle, TEXT, []) == []
