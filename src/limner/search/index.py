"""Search a table by text: image embeddings in a column, nearest by cosine.

The column is named with the digest of the model that made it, so another model never answers from the wrong
vectors. Rows without a vector (never embedded, added since, or a picture that cannot be read) are embedded
before a search, in one new version. Search is exact: every vector is compared, which Lance does at some ten
million rows a second.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from limner.checkpoint import Bundle
from limner.data.intake import decode
from limner.data.table import Table
from limner.data.transforms import normalise, to_u8
from limner.errors import DataError, PictureError
from limner.shapes import ImageSpec

Progress = Callable[[int, int], None]
"""Told of rows done and rows in all."""


class Hit(NamedTuple):
    """One picture that was found.

    Args:
        key: of the row.
        source: where the picture came from, None when the table does not say.
        texts: of the row.
        image: the encoded bytes.
        cosine: of text and picture, [−1, 1].
        matched: ITM probability, [0, 1]; None before `rerank`.
    """

    key: str
    source: str | None
    texts: list[str]
    image: bytes
    cosine: float
    matched: float | None = None


def column_of(bundle: Bundle) -> str:
    """Name of the column that holds a model's embeddings."""
    return f"embedding_{bundle.digest}"


def refresh(table: Table, bundle: Bundle, progress: Progress | None = None, *, batch_size: int = 64) -> Table:
    """Embed the pictures that have no vector of this model yet.

    Args:
        table: with `image`; its newest version is worked on.
        bundle: a BLIP.
        progress: told after each batch of pictures done and pictures to do.
        batch_size: pictures at a time.
    Returns: the table with its vectors, at a new version when there was something to add.
    Raises: CheckpointError when the bundle is no BLIP.
    """
    model, _ = bundle.blip()
    column = column_of(bundle)
    table = Table.open(table.path)
    vectors = np.full((table.num_rows, model.config.embed_dim), np.nan, dtype=np.float32)
    if table.has(column):
        standing = _dataset(table).to_table(columns=[column])[column].combine_chunks()
        vectors[np.asarray(standing.is_valid())] = np.stack(standing.flatten()).reshape(-1, vectors.shape[1])
    missing = np.flatnonzero(np.isnan(vectors[:, 0]))
    for start in range(0, len(missing), batch_size):
        part = missing[start : start + batch_size]
        vectors[part] = _embed_rows(table, bundle, part.tolist())
        if progress is not None:
            progress(start + len(part), len(missing))
    unread = np.isnan(vectors[:, 0])
    if unread.sum() == len(missing):
        return table
    values = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.ravel()), vectors.shape[1], mask=pa.array(unread)
    )
    note = f"search: {len(missing) - unread.sum()} pictures embedded by {bundle.digest}"
    return table.add_columns(pa.table({column: values}), note)


def search(
    table: Table, bundle: Bundle, text: str, k: int = 10, progress: Progress | None = None
) -> list[Hit]:
    """Find the pictures nearest to a text; those not embedded yet are embedded first.

    Args:
        table: with `key` and `image`.
        bundle: a BLIP.
        text: what to look for.
        k: most hits, ≥ 1.
        progress: of embedding.
    Returns: hits, best first.
    Raises: DataError when the text is empty; CheckpointError when the bundle is no BLIP.
    """
    if not text.strip():
        raise DataError(
            "an empty search", wanted="words", hint='limner search "a red bus" --data pairs.lance'
        )
    return nearest(refresh(table, bundle, progress), bundle, embed_text(bundle, text), k)


def nearest(table: Table, bundle: Bundle, vector: Float[np.ndarray, " e"], k: int = 10) -> list[Hit]:
    """Find the pictures nearest to a vector, among those embedded.

    Args:
        table: embedded by this bundle.
        bundle: names the column.
        vector: unit, of a text or a picture.
        k: most hits, ≥ 1.
    Returns: hits, best first.
    Raises: DataError when the table was not embedded by this bundle.
    """
    column = column_of(bundle)
    if not table.has(column):
        raise DataError(f"{table.path} has no embeddings of {bundle.digest}", wanted=f"a column {column}")
    told = [name for name in ("key", "source", "texts", "image") if table.has(name)]
    query = {"column": column, "q": vector, "k": k, "metric": "cosine", "use_index": False}
    found = _dataset(table).to_table(columns=[*told, "_distance"], nearest=query).to_pylist()
    return [
        Hit(row["key"], row.get("source"), row.get("texts") or [], row["image"], 1 - row["_distance"])
        for row in found
    ]


@torch.inference_mode()
def embed_text(bundle: Bundle, text: str) -> Float[np.ndarray, " e"]:
    """Unit vector of a text."""
    model, tokenizer = bundle.blip()
    ids, mask = tokenizer.encode_batch([text])
    device = next(model.parameters()).device
    vector: np.ndarray = model.embed_text(ids.to(device), mask.to(device))[0].cpu().numpy()
    return vector


@torch.inference_mode()
def image_tokens(
    bundle: Bundle, pictures: Sequence[bytes]
) -> tuple[Float[Tensor, "r n d"] | None, list[int]]:
    """Decode pictures and run the vision tower over them.

    Args:
        bundle: a BLIP.
        pictures: encoded bytes.
    Returns: tokens of the r pictures that can be read, None when r is 0; and which those are.
    """
    model, _ = bundle.blip()
    decoded = [_decode(data, bundle.image_spec) for data in pictures]
    readable = [i for i, pixels in enumerate(decoded) if pixels is not None]
    if not readable:
        return None, []
    batch = torch.from_numpy(np.stack([pixels for pixels in decoded if pixels is not None]))
    u8 = batch.permute(0, 3, 1, 2).to(next(model.parameters()).device)
    return model.encode_image(normalise(u8, bundle.image_spec)), readable


@torch.inference_mode()
def _embed_rows(table: Table, bundle: Bundle, rows: Sequence[int]) -> Float[np.ndarray, "b e"]:
    """Unit vectors of rows; NaN where the picture cannot be read."""
    model, _ = bundle.blip()
    vectors = np.full((len(rows), model.config.embed_dim), np.nan, dtype=np.float32)
    tokens, readable = image_tokens(bundle, [row["image"] for row in table.rows(rows, ["image"])])
    if tokens is not None:
        vectors[readable] = model.embed_image(tokens).cpu().numpy()
    return vectors


def _decode(data: bytes | None, spec: ImageSpec) -> np.ndarray | None:
    try:
        return to_u8(decode(data or b"", max_side=2 * spec.size), spec)
    except PictureError:
        return None


def _dataset(table: Table) -> Any:
    """The Lance dataset of a table, for vectors, which are too many to be Python lists."""
    import lance

    return lance.dataset(str(table.path), version=table.version)
