import numpy as np
import pytest
import torch

from limner.data.batches import AsCaptioned, AsLabelled, AsPictures, stacked
from limner.data.bpe import CLIPTokenizer
from limner.data.rows import Sample
from limner.errors import DataError


def sample(key: str, value: int, caption: str = "", label: str | None = None) -> Sample:
    return Sample(key, np.full((4, 6, 3), value, np.uint8), caption, label=label)


SAMPLES = [sample("a", 1, "a red owl", "owl"), sample("b", 2, "cat", "cat"), sample("c", 3, "x" * 40, "owl")]


def test_pictures_are_stacked_channels_first() -> None:
    batch = AsPictures()(SAMPLES)
    assert batch.keys == ["a", "b", "c"]
    assert batch.images.shape == (3, 3, 4, 6)
    assert batch.images[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert stacked(SAMPLES).is_contiguous(memory_format=torch.channels_last)


def test_labels_are_numbered_in_the_order_of_the_classes() -> None:
    assert AsLabelled(("cat", "owl"))(SAMPLES).labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("label", ["dog", None])
def test_a_row_of_no_class_is_refused_by_name(label: str | None) -> None:
    with pytest.raises(DataError, match="row 'd' has the label") as caught:
        AsLabelled(("cat", "owl"))([*SAMPLES, sample("d", 4, label=label)])
    assert "cat, owl" in str(caught.value)


def test_texts_are_cut_to_the_context_and_padded_to_the_longest() -> None:
    tokenizer = CLIPTokenizer.from_merges("#version: 0.2\n", vocab_size=514)
    batch = AsCaptioned(tokenizer, 12)(SAMPLES)
    assert batch.ids.shape == (3, 12)
    assert batch.ids[:, 0].tolist() == [tokenizer.sot_id] * 3
    assert batch.ids[2, -1] == tokenizer.eot_id
    assert tokenizer.decode(batch.ids[1]) == "cat"
    short = AsCaptioned(tokenizer, 12)(SAMPLES[1:2])
    assert torch.equal(short.ids[0], batch.ids[1, : short.ids.shape[1]])
