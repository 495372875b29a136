"""Search by cosine against all pairs by hand; vectors are made once, for the model they are named after."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch

from limner.checkpoint import Bundle
from limner.data.intake import decode
from limner.data.table import Table
from limner.data.transforms import normalise, to_u8
from limner.errors import CheckpointError, DataError
from limner.models.blip import BLIP
from limner.search.index import column_of, embed_text, nearest, refresh, search


def _by_hand(table: Table, bundle: Bundle, text: str) -> list[tuple[str, float]]:
    """Every readable picture with its cosine, best first, one at a time."""
    assert isinstance(bundle.model, BLIP)
    assert bundle.tokenizer is not None
    ids, mask = bundle.tokenizer.encode_batch([text])
    found = []
    with torch.no_grad():
        query = bundle.model.embed_text(ids, mask)[0]
        for row in table.rows(range(12), ["key", "image"]):
            if row["key"] in ("row3", "row11"):
                continue
            u8 = torch.from_numpy(to_u8(decode(row["image"]), bundle.image_spec)).permute(2, 0, 1)[None]
            embed = bundle.model.embed_image(bundle.model.encode_image(normalise(u8, bundle.image_spec)))
            found.append((row["key"], float(embed[0] @ query)))
    return sorted(found, key=lambda pair: -pair[1])


@pytest.mark.parametrize("text", ["a red bus", "Two fish!", "a moon and a tree"])
def test_the_order_is_that_of_all_cosines(table: Table, bundle: Bundle, text: str) -> None:
    hits = search(table, bundle, text, k=5)
    by_hand = _by_hand(table, bundle, text)[:5]
    assert [hit.key for hit in hits] == [key for key, _ in by_hand]
    assert [hit.cosine for hit in hits] == pytest.approx([cosine for _, cosine in by_hand], abs=1e-5)
    assert len({round(hit.cosine, 4) for hit in hits}) == 5


def test_a_hit_is_a_row(table: Table, bundle: Bundle) -> None:
    hit = search(table, bundle, "a cat", k=1)[0]
    (row,) = table.rows([int(hit.key.removeprefix("row"))])
    assert (hit.image, hit.texts, hit.source, hit.matched) == (row["image"], row["texts"], None, None)


def test_broken_pictures_are_never_found_and_k_may_be_large(table: Table, bundle: Bundle) -> None:
    hits = search(table, bundle, "a cat", k=100)
    assert sorted(hit.key for hit in hits) == sorted(f"row{i}" for i in range(12) if i not in (3, 11))


def test_vectors_are_made_once(table: Table, bundle: Bundle) -> None:
    told: list[tuple[int, int]] = []
    indexed = refresh(table, bundle, lambda done, total: told.append((done, total)), batch_size=5)
    assert told == [(5, 12), (10, 12), (12, 12)]
    assert indexed.version == table.version + 1
    assert "10 pictures embedded" in indexed.versions()[-1].note
    vectors = indexed.column(column_of(bundle))
    assert [i for i, vector in enumerate(vectors) if vector is None] == [3, 11]
    norms = [np.linalg.norm(vector) for vector in vectors if vector is not None]
    assert norms == pytest.approx([1] * 10, abs=1e-5)
    told.clear()
    assert refresh(indexed, bundle, lambda done, total: told.append((done, total))).version == indexed.version
    assert told == [(2, 2)], "only the broken pictures are tried again"


def test_rows_that_lack_a_vector_are_embedded_later(table: Table, bundle: Bundle) -> None:
    indexed = refresh(table, bundle)
    column = column_of(bundle)
    vectors = indexed.column(column)
    holes = pa.array([None if i < 6 else v for i, v in enumerate(vectors)], pa.list_(pa.float32(), 8))
    holed = indexed.add_columns(pa.table({column: holes}), "holes")
    mended = refresh(holed, bundle)
    assert mended.version == holed.version + 1
    for one, two in zip(mended.column(column), vectors, strict=True):
        assert one == (None if two is None else pytest.approx(two, abs=1e-6))


def test_another_model_has_its_own_vectors(
    table: Table, bundle: Bundle, make_bundle: Callable[..., Bundle]
) -> None:
    other = make_bundle(1)
    both = refresh(refresh(table, bundle), other)
    assert {column_of(bundle), column_of(other)} <= set(both.column_names)
    found = [[hit.cosine for hit in search(both, model, "a cat")] for model in (bundle, other)]
    assert found[0] != found[1]
    with pytest.raises(DataError, match="no embeddings of 000000000001"):
        nearest(table, other, embed_text(other, "a cat"))


def test_an_old_handle_searches_what_is_there_already(table: Table, bundle: Bundle) -> None:
    first = search(table, bundle, "a cat")
    version = Table.open(table.path).version
    assert search(table, bundle, "a cat") == first
    assert Table.open(table.path).version == version


def test_wrong_input_is_named(table: Table, bundle: Bundle) -> None:
    with pytest.raises(DataError, match="an empty search"):
        search(table, bundle, "  ")
    with pytest.raises(CheckpointError, match="does not read pictures and texts"):
        search(table, bundle._replace(tokenizer=None), "a cat")
