import pytest
import torch
from pydantic import ValidationError

from limner.models.bag_of_words import BagOfWords, BagOfWordsConfig
from limner.models.resnet import ResNetConfig

RESNET = ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=0)


def test_a_word_s_score_is_a_product_with_the_picture():
    model = BagOfWords(BagOfWordsConfig(vision=RESNET, vocab_size=5)).eval()
    read = model(torch.randn(2, 3, 32, 32))
    for row in range(2):
        for word in range(5):
            want = sum(a * b for a, b in zip(model.head.weight[word], read.pooled[row], strict=True))
            torch.testing.assert_close(read.logits[row, word], want + model.head.bias[word])


def test_a_classifier_is_refused():
    with pytest.raises(ValidationError, match="num_classes=0"):
        BagOfWordsConfig(vision=RESNET.model_copy(update={"num_classes": 3}).model_dump())
