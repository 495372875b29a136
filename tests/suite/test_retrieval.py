"""Recalls of the suite are those of the whole matrix, by cosine and re-ranked."""

from pathlib import Path

import numpy as np
import pytest

from limner.checkpoint import Bundle
from limner.data.transforms import to_u8
from limner.errors import CheckpointError, DataError
from limner.evaluate.retrieval import retrieval
from limner.suite.retrieval import RetrievalSettings, measure
from limner.suite.rows import rows_of
from limner.suite.selection import Selection


@pytest.mark.parametrize("top_k", [0, 5])
def test_measures_equal_those_of_the_whole_matrix(table: Path, blip: Bundle, top_k: int) -> None:
    selection = Selection(path=str(table), where="split = 'test'")
    found = measure(blip, selection, RetrievalSettings(top_k=top_k), None)
    rows = rows_of(selection)
    images = [one for _, batch in rows.batches(lambda p: to_u8(p, blip.image_spec), 4) for one in batch]
    peer = retrieval(blip, images, [texts[0] for texts in rows.texts], top_k=top_k)
    values = found.values()
    assert {name: values[name] for name in peer} == pytest.approx(peer)
    assert {"i2t_mrr", "t2i_mrr"} <= set(values)
    assert next(iter(found.measures)) == "i2t_r1"
    assert np.mean([sample["score"] for sample in found.samples]) == pytest.approx(peer["i2t_r1"])
    if top_k:
        assert "itc_i2t_r1" in values
        assert found.details["pairs_reranked"] <= 2 * 12 * 5
        assert found.details["rerank_ms_a_query"] > 0


def test_what_cannot_is_refused(table: Path, resnet) -> None:
    with pytest.raises(CheckpointError, match="without ITM"):
        measure(resnet(), Selection(path=str(table)), RetrievalSettings(top_k=4), None)
    with pytest.raises(DataError, match="no column 'none'"):
        measure(resnet(), Selection(path=str(table), texts_column="none"), RetrievalSettings(), None)
