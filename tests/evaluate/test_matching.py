import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from limner.checkpoint import Bundle
from limner.evaluate.matching import match_logits, match_probability, matching
from limner.evaluate.pictures import look


@torch.inference_mode()
def test_logits_equal_the_model_one_pair_at_a_time(bundle: Bundle, images, texts) -> None:
    told = [texts[:3], [], [texts[4]], texts, texts[1:2], texts[2:4], texts[5:]]
    found = match_logits(bundle, images, told, batch_size=3)
    assert [len(logits) for logits in found] == [3, 0, 1, 7, 1, 2, 2]
    for image, own, logits in zip(images, told, found, strict=True):
        memory = look(bundle, [image]).encoder
        wanted = [
            bundle.model.match(memory, *bundle.tokenizer.encode_batch([text]))[0].tolist() for text in own
        ]
        np.testing.assert_allclose(logits, np.array(wanted).reshape(-1, 2), atol=1e-5)


def test_probability_is_the_softmax_even_far_out() -> None:
    logits = np.array([[0.3, -0.2], [-1000.0, 1000.0], [1000.0, -1000.0]], np.float32)
    np.testing.assert_allclose(
        match_probability(logits), torch.from_numpy(logits).softmax(1)[:, 1], atol=1e-6
    )


def test_matching_scores_the_margin(bundle: Bundle, images, texts) -> None:
    truth = np.array([True, False, True, True, False, True, False])
    logits = np.concatenate(match_logits(bundle, images, [[text] for text in texts]))
    measured = matching(bundle, images, texts, truth)
    assert measured["auroc"] == pytest.approx(roc_auc_score(truth, match_probability(logits)))
    assert 0 < measured["average_precision"] <= 1
