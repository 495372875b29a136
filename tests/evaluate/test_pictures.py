import numpy as np
import pytest
import torch

from limner.checkpoint import Bundle
from limner.data.transforms import normalise
from limner.errors import CheckpointError, ShapeError
from limner.evaluate.pictures import blip_of, embed_images, embed_texts, look, looks
from limner.models.blip import with_heads


@torch.inference_mode()
def test_embeddings_come_in_order_whatever_the_batch(bundle: Bundle, images, texts) -> None:
    model = bundle.model
    wanted = [
        model.embed_image(
            model.encode_image(normalise(torch.from_numpy(i).permute(2, 0, 1)[None], bundle.image_spec))
        )
        for i in images
    ]
    for batch_size in (2, 64):
        np.testing.assert_allclose(embed_images(bundle, images, batch_size), torch.cat(wanted), atol=1e-5)
    wanted = [model.embed_text(*bundle.tokenizer.encode_batch([text])) for text in texts]
    np.testing.assert_allclose(embed_texts(bundle, texts), torch.cat(wanted), atol=1e-5)


def test_progress_counts_pictures_up_to_all(bundle: Bundle, images) -> None:
    calls: list[tuple[int, int]] = []
    places = [
        list(batch) for batch, _ in looks(bundle, images, 3, lambda done, total: calls.append((done, total)))
    ]
    assert places == [[0, 1, 2], [3, 4, 5], [6]]
    assert calls == [(3, 7), (6, 7), (7, 7)]


def test_a_picture_of_another_size_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(ShapeError, match=r"a picture of shape \(8, 16, 3\)"):
        look(bundle, [np.zeros((8, 16, 3), np.uint8)])


def test_a_model_that_is_no_blip_or_is_training_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(CheckpointError, match="does not read pictures and texts"):
        blip_of(bundle._replace(model=torch.nn.Linear(1, 1)))
    bundle.model.train()
    try:
        with pytest.raises(CheckpointError, match="train mode"):
            blip_of(bundle)
    finally:
        bundle.model.eval()


def test_a_text_longer_than_the_model_can_hold_is_cut(bundle: Bundle) -> None:
    long, cut = embed_texts(bundle, ["an owl " * 60, "an owl " * 90])
    np.testing.assert_allclose(long, cut, atol=1e-6)  # two rows of a batch may differ in the last bit


@pytest.mark.parametrize("head", ["itc", "lm"])
def test_a_look_leaves_what_there_are_heads_for(bundle: Bundle, images, head) -> None:
    whole = look(bundle, images)
    seen = look(bundle._replace(model=with_heads(bundle.model, (head,))), images)
    assert seen.embed.shape == (len(images), whole.embed.shape[1] if head == "itc" else 0)
    assert [len(part.layers) > 0 for part in (seen.encoder, seen.decoder)] == [False, head == "lm"]
    if head == "itc":
        torch.testing.assert_close(seen.embed, whole.embed)
    else:
        torch.testing.assert_close(seen.decoder.layers, whole.decoder.layers)
