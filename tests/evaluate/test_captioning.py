import numpy as np
import pytest
import torch

from limner.checkpoint import Bundle
from limner.evaluate.captioning import caption_quality, captioning, captions
from limner.evaluate.metrics import cider_d
from limner.evaluate.pictures import look
from limner.models.generate import Decoding


@torch.inference_mode()
def _slow_greedy(bundle: Bundle, image: np.ndarray, max_tokens: int) -> str:
    model, ids = bundle.model, [bundle.tokenizer.cls_id]
    memory = look(bundle, [image]).decoder
    while len(ids) <= max_tokens and ids[-1] != bundle.tokenizer.sep_id:
        ids.append(int(model.decode(memory, torch.tensor([ids]))[0, -1].argmax()))
    return bundle.tokenizer.decode(ids)


def test_captions_equal_a_slow_greedy_loop(bundle: Bundle, images) -> None:
    decoding = Decoding(method="greedy", max_tokens=6)
    wanted = [_slow_greedy(bundle, image, 6) for image in images]
    assert len(set(wanted)) > 1
    assert captions(bundle, images, decoding, batch_size=3) == wanted


def test_drawn_captions_do_not_depend_on_the_batch(bundle: Bundle, images) -> None:
    decoding = Decoding(method="nucleus", max_tokens=6)
    assert captions(bundle, images, decoding, batch_size=2) == captions(
        bundle, images, decoding, batch_size=7
    )


def test_quality_holds_cider_and_the_share_of_each_check() -> None:
    found = ["a cat", "two dogs", "a bus"]
    references = [["a cat"], ["three dogs"], ["a red bus"]]
    measured = caption_quality(found, references, {"exact": lambda i, text: text in references[i]})
    assert measured == {"cider_d": cider_d(found, references).mean, "exact": pytest.approx(1 / 3)}


def test_captioning_scores_what_it_generates(bundle: Bundle, images) -> None:
    decoding = Decoding(method="greedy", max_tokens=4)
    own = [[text] for text in captions(bundle, images, decoding)]
    measured = captioning(bundle, images, own, {"own": lambda i, text: text == own[i][0]}, decoding)
    assert measured["own"] == 1.0


@torch.inference_mode()
def test_captions_go_on_from_a_prompt(bundle: Bundle, images) -> None:
    start = bundle.tokenizer.encode("two red")[:-1]
    wanted = []
    for image in images:
        memory, ids = look(bundle, [image]).decoder, list(start)
        while len(ids) < len(start) + 4 and ids[-1] != bundle.tokenizer.sep_id:
            ids.append(int(bundle.model.decode(memory, torch.tensor([ids]))[0, -1].argmax()))
        wanted.append(bundle.tokenizer.decode(ids[len(start) :]))
    found = captions(bundle, images, Decoding(method="greedy", max_tokens=4), prompt="two red")
    assert found == wanted
    assert found != captions(bundle, images, Decoding(method="greedy", max_tokens=4))
